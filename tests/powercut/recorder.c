/* Records what a process does to the files below one folder, so that images.py can rebuild what a power cut
 * at any moment might have left.
 *
 * Preloaded into the process. POWERCUT_FOLDER is the folder (absolute, without symbolic links), POWERCUT_TRACE the
 * file that the events go to, POWERCUT_SENDS=1 also records what is sent on stream sockets (libzmq's ipc).
 * POWERCUT_SYNC_US makes every sync take so much longer, as on a slow disk: what wrongly does not wait for it then
 * comes before its end.
 *
 * A write is recorded before it is done and under one lock, so the trace has the order of the writes. A sync has two
 * events: what was recorded before the first is durable from the second on. Descriptors are looked up in /proc at
 * every call: there is no table of them that could become wrong.
 *
 * Not seen: stores into shared mappings, sendfile, copy_file_range, io_uring. Nothing that is tested uses them on
 * files that must be durable.
 */
#define _GNU_SOURCE
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    EVENT_WRITE = 1,     /* inode, offset, data */
    EVENT_ZEROS,         /* inode, offset, length: a write of so many zeros */
    EVENT_TRUNCATE,      /* inode, size */
    EVENT_SYNC_BEGIN,    /* inode, token; offset and length if it is of one range only */
    EVENT_SYNC_END,      /* inode, token */
    EVENT_CREATE,        /* inode, path */
    EVENT_MKDIR,         /* inode, path */
    EVENT_RENAME,        /* path, 0, path */
    EVENT_UNLINK,        /* path */
    EVENT_MARK,          /* what was written to <folder>/.mark */
    EVENT_SEND,          /* descriptor, data */
    EVENT_UNSUPPORTED,   /* what */
    EVENT_OPEN,          /* inode, path: of a file or folder that was there before */
};

struct header {
    uint32_t kind;
    uint32_t process;
    uint64_t inode;
    uint64_t offset;
    uint64_t length;     /* of the data that follow */
};

static char folder[PATH_MAX];
static size_t folder_length;
static int trace = -1;
static int sends;
static unsigned sync_us;
static uint64_t tokens;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name, result, ...)                                   \
    static result (*real)(__VA_ARGS__);                           \
    if (!real) real = (result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("POWERCUT_FOLDER"), *file = getenv("POWERCUT_TRACE");
    if (!path || !file) return;
    snprintf(folder, sizeof folder, "%s", path);
    folder_length = strlen(folder);
    sends = getenv("POWERCUT_SENDS") != NULL;
    const char *us = getenv("POWERCUT_SYNC_US");
    sync_us = us ? atoi(us) : 0;
    /* far away from the numbers that programs close in loops or expect to be given */
    int opened = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    trace = fcntl(opened, F_DUPFD_CLOEXEC, 900);
    syscall(SYS_close, opened);
}

static void record(uint32_t kind, uint64_t inode, uint64_t offset, const struct iovec *parts, int count)
{
    struct header header = {kind, (uint32_t)getpid(), inode, offset, 0};
    struct iovec all[IOV_MAX + 1];
    for (int i = 0; i < count; i++) header.length += parts[i].iov_len;
    all[0] = (struct iovec){&header, sizeof header};
    memcpy(all + 1, parts, count * sizeof *parts);
    size_t due = sizeof header + header.length;
    if (syscall(SYS_writev, trace, all, count + 1) != (ssize_t)due) {
        static const char what[] = "powercut: the trace cannot be written\n";
        syscall(SYS_write, 2, what, sizeof what - 1);
        abort();
    }
}

static void record_bytes(uint32_t kind, uint64_t inode, uint64_t offset, const void *data, size_t length)
{
    struct iovec part = {(void *)data, length};
    record(kind, inode, offset, &part, 1);
}

/* The path below the folder ("" for the folder itself), or NULL if it lies elsewhere. */
static const char *below(const char *path)
{
    if (strncmp(path, folder, folder_length) != 0) return NULL;
    if (path[folder_length] == '\0') return path + folder_length;
    return path[folder_length] == '/' ? path + folder_length + 1 : NULL;
}

static const char *path_of(int descriptor, char *buffer)
{
    char link[64];
    if (trace < 0 || descriptor < 0) return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, buffer, PATH_MAX - 1);
    if (length < 0) return NULL;
    buffer[length] = '\0';
    return below(buffer);
}

/* The same for a path as it is given to a call; links in it are not followed. */
static const char *path_at(int directory, const char *path, char *buffer)
{
    if (trace < 0) return NULL;
    if (path[0] == '/') {
        snprintf(buffer, PATH_MAX, "%s", path);
        return below(buffer);
    }
    char base[PATH_MAX];
    if (directory == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) return NULL;
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
        ssize_t length = readlink(link, base, sizeof base - 1);
        if (length < 0) return NULL;
        base[length] = '\0';
    }
    if (snprintf(buffer, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) return NULL;
    return below(buffer);
}

static uint64_t inode_of(int descriptor)
{
    struct stat status;
    return fstat(descriptor, &status) == 0 ? status.st_ino : 0;
}

static int is_mark(const char *path) { return strcmp(path, ".mark") == 0; }

static int all_zero(const struct iovec *parts, int count)
{
    for (int i = 0; i < count; i++) {
        const char *data = parts[i].iov_base;
        size_t length = parts[i].iov_len;
        if (length && (data[0] != 0 || memcmp(data, data + 1, length - 1) != 0)) return 0;
    }
    return 1;
}

/* Called with the lock held; returns the token of a sync that ends with the call, 0 if there is none. */
static uint64_t record_write(int descriptor, const char *path, const struct iovec *parts, int count, off_t offset,
                             int flags)
{
    size_t length = 0;
    for (int i = 0; i < count; i++) length += parts[i].iov_len;
    if (is_mark(path)) {
        record(EVENT_MARK, 0, 0, parts, count);
        return 0;
    }
    int status = fcntl(descriptor, F_GETFL);
    uint64_t inode = inode_of(descriptor);
    if (offset < 0) {
        struct stat file;
        fstat(descriptor, &file);
        offset = status & O_APPEND ? file.st_size : lseek(descriptor, 0, SEEK_CUR);
    }
    if (length >= 4096 && all_zero(parts, count)) {
        uint64_t zeros = length;
        record_bytes(EVENT_ZEROS, inode, offset, &zeros, sizeof zeros);
    } else {
        record(EVENT_WRITE, inode, offset, parts, count);
    }
    if (!(status & O_DSYNC) && !(flags & (RWF_DSYNC | RWF_SYNC))) return 0;
    uint64_t range[] = {offset, length};
    record_bytes(EVENT_SYNC_BEGIN, inode, ++tokens, range, sizeof range);
    return tokens;
}

static void check_whole(ssize_t done, const struct iovec *parts, int count)
{
    size_t length = 0;
    for (int i = 0; i < count; i++) length += parts[i].iov_len;
    if (done != (ssize_t)length) record_bytes(EVENT_UNSUPPORTED, 0, 0, "a failed or short write", 23);
}

#define RECORDED_WRITE(descriptor, parts, count, offset, flags, call)                     \
    char buffer[PATH_MAX];                                                                \
    const char *path = path_of(descriptor, buffer);                                       \
    if (!path) return call;                                                               \
    pthread_mutex_lock(&lock);                                                            \
    uint64_t token = record_write(descriptor, path, parts, count, offset, flags);         \
    if (token) pthread_mutex_unlock(&lock);                                               \
    if (token && sync_us) usleep(sync_us);                                                      \
    ssize_t done = call;                                                                  \
    int error = errno;                                                                    \
    if (token) pthread_mutex_lock(&lock);                                                 \
    check_whole(done, parts, count);                                                      \
    if (token) record_bytes(EVENT_SYNC_END, inode_of(descriptor), token, "", 0);          \
    pthread_mutex_unlock(&lock);                                                          \
    errno = error;                                                                        \
    return done

ssize_t write(int descriptor, const void *data, size_t length)
{
    REAL("write", ssize_t, int, const void *, size_t);
    struct iovec part = {(void *)data, length};
    RECORDED_WRITE(descriptor, &part, 1, -1, 0, real(descriptor, data, length));
}

ssize_t writev(int descriptor, const struct iovec *parts, int count)
{
    REAL("writev", ssize_t, int, const struct iovec *, int);
    RECORDED_WRITE(descriptor, parts, count, -1, 0, real(descriptor, parts, count));
}

#define PWRITE(name)                                                                      \
    ssize_t name(int descriptor, const void *data, size_t length, off_t offset)           \
    {                                                                                     \
        REAL(#name, ssize_t, int, const void *, size_t, off_t);                           \
        struct iovec part = {(void *)data, length};                                       \
        RECORDED_WRITE(descriptor, &part, 1, offset, 0, real(descriptor, data, length, offset)); \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define PWRITEV(name)                                                                     \
    ssize_t name(int descriptor, const struct iovec *parts, int count, off_t offset)      \
    {                                                                                     \
        REAL(#name, ssize_t, int, const struct iovec *, int, off_t);                      \
        RECORDED_WRITE(descriptor, parts, count, offset, 0, real(descriptor, parts, count, offset)); \
    }
PWRITEV(pwritev)
PWRITEV(pwritev64)

#define PWRITEV2(name)                                                                    \
    ssize_t name(int descriptor, const struct iovec *parts, int count, off_t offset, int flags) \
    {                                                                                     \
        REAL(#name, ssize_t, int, const struct iovec *, int, off_t, int);                 \
        RECORDED_WRITE(descriptor, parts, count, offset, flags, real(descriptor, parts, count, offset, flags)); \
    }
PWRITEV2(pwritev2)
PWRITEV2(pwritev64v2)

/* --- sizes ------------------------------------------------------------------------------------------------ */

#define FTRUNCATE(name)                                                                   \
    int name(int descriptor, off_t size)                                                  \
    {                                                                                     \
        REAL(#name, int, int, off_t);                                                     \
        char buffer[PATH_MAX];                                                            \
        const char *path = path_of(descriptor, buffer);                                   \
        if (!path) return real(descriptor, size);                                         \
        pthread_mutex_lock(&lock);                                                        \
        int result = real(descriptor, size);                                              \
        if (result == 0) record_bytes(EVENT_TRUNCATE, inode_of(descriptor), size, "", 0); \
        pthread_mutex_unlock(&lock);                                                      \
        return result;                                                                    \
    }
FTRUNCATE(ftruncate)
FTRUNCATE(ftruncate64)

/* What grows a file without writing is taken as a truncation to the larger size. */
static void record_growth(int descriptor, int mode, off_t offset, off_t length)
{
    struct stat file;
    char buffer[PATH_MAX];
    if (!path_of(descriptor, buffer) || fstat(descriptor, &file) != 0) return;
    pthread_mutex_lock(&lock);
    if (mode != 0)
        record_bytes(EVENT_UNSUPPORTED, 0, 0, "fallocate with a mode", 21);
    else if (offset + length >= file.st_size)
        record_bytes(EVENT_TRUNCATE, file.st_ino, offset + length, "", 0);
    pthread_mutex_unlock(&lock);
}

#define FALLOCATE(name)                                                                   \
    int name(int descriptor, int mode, off_t offset, off_t length)                        \
    {                                                                                     \
        REAL(#name, int, int, int, off_t, off_t);                                         \
        int result = real(descriptor, mode, offset, length);                              \
        if (result == 0) record_growth(descriptor, mode, offset, length);                 \
        return result;                                                                    \
    }
FALLOCATE(fallocate)
FALLOCATE(fallocate64)

#define POSIX_FALLOCATE(name)                                                             \
    int name(int descriptor, off_t offset, off_t length)                                  \
    {                                                                                     \
        REAL(#name, int, int, off_t, off_t);                                              \
        int result = real(descriptor, offset, length);                                    \
        if (result == 0) record_growth(descriptor, 0, offset, length);                    \
        return result;                                                                    \
    }
POSIX_FALLOCATE(posix_fallocate)
POSIX_FALLOCATE(posix_fallocate64)

/* --- syncs ------------------------------------------------------------------------------------------------ */

#define SYNC(name)                                                                        \
    int name(int descriptor)                                                              \
    {                                                                                     \
        REAL(#name, int, int);                                                            \
        char buffer[PATH_MAX];                                                            \
        const char *path = path_of(descriptor, buffer);                                   \
        if (!path) return real(descriptor);                                               \
        uint64_t inode = inode_of(descriptor);                                            \
        pthread_mutex_lock(&lock);                                                        \
        uint64_t token = ++tokens;                                                        \
        record_bytes(EVENT_SYNC_BEGIN, inode, token, "", 0);                              \
        pthread_mutex_unlock(&lock);                                                      \
        if (sync_us) usleep(sync_us);                                                           \
        int result = real(descriptor);                                                    \
        if (result != 0) return result;                                                   \
        pthread_mutex_lock(&lock);                                                        \
        record_bytes(EVENT_SYNC_END, inode, token, "", 0);                                \
        pthread_mutex_unlock(&lock);                                                      \
        return result;                                                                    \
    }
SYNC(fsync)
SYNC(fdatasync)

/* --- names ------------------------------------------------------------------------------------------------ */

static int recorded_open(int directory, const char *path, int flags, mode_t mode)
{
    char buffer[PATH_MAX];
    const char *relative = path_at(directory, path, buffer);
    if (!relative) return syscall(SYS_openat, directory, path, flags, mode);
    pthread_mutex_lock(&lock);
    struct stat before;
    int existed = fstatat(directory, path, &before, 0) == 0;
    int descriptor = syscall(SYS_openat, directory, path, flags, mode);
    int error = errno;
    if (descriptor >= 0 && !is_mark(relative)) {
        record_bytes(existed ? EVENT_OPEN : EVENT_CREATE, inode_of(descriptor), 0, relative, strlen(relative));
        if (existed && flags & O_TRUNC) record_bytes(EVENT_TRUNCATE, inode_of(descriptor), 0, "", 0);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return descriptor;
}

static mode_t mode_given(int flags, va_list list)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0;
}

#define OPEN(name)                                                                        \
    int name(const char *path, int flags, ...)                                            \
    {                                                                                     \
        va_list list;                                                                     \
        va_start(list, flags);                                                            \
        mode_t mode = mode_given(flags, list);                                            \
        va_end(list);                                                                     \
        return recorded_open(AT_FDCWD, path, flags, mode);                   \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                      \
    int name(int directory, const char *path, int flags, ...)                             \
    {                                                                                     \
        va_list list;                                                                     \
        va_start(list, flags);                                                            \
        mode_t mode = mode_given(flags, list);                                            \
        va_end(list);                                                                     \
        return recorded_open(directory, path, flags, mode);                  \
    }
OPENAT(openat)
OPENAT(openat64)

int creat(const char *path, mode_t mode)
{
    return recorded_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned flags)
{
    char from_buffer[PATH_MAX], to_buffer[PATH_MAX];
    const char *old = path_at(from_directory, from, from_buffer), *new = path_at(to_directory, to, to_buffer);
    if (!old && !new) return syscall(SYS_renameat2, from_directory, from, to_directory, to, flags);
    pthread_mutex_lock(&lock);
    int result = syscall(SYS_renameat2, from_directory, from, to_directory, to, flags);
    int error = errno;
    if (result == 0) {
        if (!old || !new || flags) {
            record_bytes(EVENT_UNSUPPORTED, 0, 0, "rename across the folder's border", 33);
        } else {
            struct iovec parts[] = {{(void *)old, strlen(old) + 1}, {(void *)new, strlen(new)}};
            record(EVENT_RENAME, 0, 0, parts, 2);
        }
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int renameat(int from_directory, const char *from, int to_directory, const char *to)
{
    return renameat2(from_directory, from, to_directory, to, 0);
}

int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlinkat(int directory, const char *path, int flags)
{
    char buffer[PATH_MAX];
    const char *relative = path_at(directory, path, buffer);
    if (!relative) return syscall(SYS_unlinkat, directory, path, flags);
    pthread_mutex_lock(&lock);
    int result = syscall(SYS_unlinkat, directory, path, flags);
    int error = errno;
    if (result == 0 && !is_mark(relative)) record_bytes(EVENT_UNLINK, 0, 0, relative, strlen(relative));
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int remove(const char *path)
{
    int result = unlinkat(AT_FDCWD, path, 0);
    return result != 0 && errno == EISDIR ? unlinkat(AT_FDCWD, path, AT_REMOVEDIR) : result;
}

int mkdirat(int directory, const char *path, mode_t mode)
{
    char buffer[PATH_MAX];
    const char *relative = path_at(directory, path, buffer);
    if (!relative) return syscall(SYS_mkdirat, directory, path, mode);
    pthread_mutex_lock(&lock);
    int result = syscall(SYS_mkdirat, directory, path, mode);
    int error = errno;
    struct stat made;
    if (result == 0 && fstatat(directory, path, &made, 0) == 0)
        record_bytes(EVENT_MKDIR, made.st_ino, 0, relative, strlen(relative));
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

/* --- what leaves the process ------------------------------------------------------------------------------ */

static void record_send(int descriptor, const struct iovec *parts, int count)
{
    if (trace < 0 || !sends) return;
    pthread_mutex_lock(&lock);
    record(EVENT_SEND, inode_of(descriptor), 0, parts, count);
    pthread_mutex_unlock(&lock);
}

ssize_t send(int descriptor, const void *data, size_t length, int flags)
{
    REAL("send", ssize_t, int, const void *, size_t, int);
    struct iovec part = {(void *)data, length};
    record_send(descriptor, &part, 1);
    return real(descriptor, data, length, flags);
}

ssize_t sendto(int descriptor, const void *data, size_t length, int flags, const struct sockaddr *to, socklen_t size)
{
    REAL("sendto", ssize_t, int, const void *, size_t, int, const struct sockaddr *, socklen_t);
    struct iovec part = {(void *)data, length};
    record_send(descriptor, &part, 1);
    return real(descriptor, data, length, flags, to, size);
}

ssize_t sendmsg(int descriptor, const struct msghdr *message, int flags)
{
    REAL("sendmsg", ssize_t, int, const struct msghdr *, int);
    record_send(descriptor, message->msg_iov, message->msg_iovlen);
    return real(descriptor, message, flags);
}
