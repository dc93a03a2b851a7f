"""What is vendored is what was published: each file by its hash, each licence beside it, nothing else."""

import base64
import gzip
import hashlib
import json
from pathlib import Path

STATIC = Path(__file__).parents[2] / "mini_flink" / "admin" / "static"
VENDOR = STATIC / "vendor"
PACKAGES = json.loads((VENDOR / "vendor.lock.json").read_text())["packages"]
OWN_LIMIT = 40 * 1024
"""Of all files together, compressed: what a first visit loads."""


def test_every_vendored_file_is_the_one_that_is_locked() -> None:
    for package in PACKAGES:
        assert package["folder"].endswith(f"-{package['version']}")
        assert len(base64.b64decode(package["integrity"].removeprefix("sha512-"))) == 64
        for each in package["files"]:
            content = (VENDOR / package["folder"] / each["file"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == each["sha256"], each["file"]


def test_nothing_else_is_vendored_and_each_has_its_licence() -> None:
    locked = {VENDOR / package["folder"] / each["file"] for package in PACKAGES for each in package["files"]}
    assert {path for path in VENDOR.rglob("*") if path.is_file()} == {*locked, VENDOR / "vendor.lock.json"}
    for package in PACKAGES:
        assert (VENDOR / package["folder"] / "LICENSE").read_text().strip()


def test_the_import_map_names_files_that_are_there() -> None:
    page = (STATIC / "index.html").read_text()
    names = json.loads(page.split('<script type="importmap">')[1].split("</script>")[0])["imports"]
    for address in names.values():
        assert (STATIC.parent / address).is_file()


def test_own_code_stays_small_and_writes_text_only() -> None:
    own = [path for path in STATIC.iterdir() if path.suffix in (".js", ".css", ".html")]
    assert len(gzip.compress(b"".join(path.read_bytes() for path in own))) <= OWN_LIMIT
    for path in own:
        text = path.read_text()
        assert [each for each in ("innerHTML", "http://", "https://") if each in text] == [], path.name
