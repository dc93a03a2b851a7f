-- The load of wrk: JSON posted with random keys, every reply checked, a summary as one line of JSON at the end.
-- wrk -s load.lua URL -- WORKLOAD KEYS SEED
--
-- wrk does not say which reply belongs to which request. Replies are matched by key: one for a key that no request is
-- waiting for is an error.

local format, random, find, match = string.format, math.random, string.find, string.match

local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

local head = "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"

local waiting = {}

local function wait_for(key)
   waiting[key] = (waiting[key] or 0) + 1
end

local function is_waited_for(key)
   local count = key and waiting[key]
   if not count or count == 0 then
      return false
   end
   waiting[key] = count - 1
   return true
end

local workloads = {}

workloads.total = {
   path = "/total",
   body = function()
      local key = "k" .. random(0, keys - 1)
      wait_for(key)
      return format('{"key": "%s", "amount": 1}', key)
   end,
   check = function(body)
      local key, total = match(body, '^{"key":"(k%d+)","total":(%d+)}$')
      return total and tonumber(total) >= 1 and is_waited_for(key)
   end,
}

workloads.event = {
   path = "/event",
   body = function()
      local key = "k" .. random(0, keys - 1)
      wait_for(key)
      return format('{"request": "%s"}', key)
   end,
   check = function(body)
      local key = match(body, '^{"code":200,"msg":"OK","data":{"request":"(k%d+)","result":"ok","event_id":"[^"]+"')
      return is_waited_for(key)
   end,
}

workloads.echo = {
   path = "/echo",
   body = workloads.total.body,
   check = function(body)
      return is_waited_for(match(body, '^{"key": "(k%d+)", "amount": 1}$'))
   end,
}

local clock = 1700000000000

workloads.payment = {
   path = "/event",
   body = function()
      local key = "k" .. random(0, keys - 1)
      wait_for(key)
      clock = clock + 1
      return format(
         '{"application": "bench", "timestamp": %d, "event_type": "transaction", '
            .. '"pay_account": "%s", "rcv_account": "k%d", "amount": %d}',
         clock, key, random(0, keys - 1), random(1, 1000))
   end,
   check = function(body)
      local key = match(body, '"pay_account":"(k%d+)"')
      return find(body, '"features":{"count(pay_account.history,1h)":', 1, true)
         and find(body, '"isAnomaly":', 1, true)
         and is_waited_for(key)
   end,
}

local load

function init(args)
   load = workloads[args[1]]
   keys = tonumber(args[2])
   math.randomseed(tonumber(args[3]))
   good, wrong_status, wrong_body, example = 0, 0, 0, ""
end

function request()
   local body = load.body()
   return format(head, load.path, #body, body)
end

function response(status, headers, body)
   if status ~= 200 then
      wrong_status = wrong_status + 1
      example = status .. " " .. body
   elseif load.check(body) then
      good = good + 1
   else
      wrong_body = wrong_body + 1
      example = body
   end
end

local function quoted(text)
   return '"' .. text:sub(1, 200):gsub('[%c"\\]', function(c) return format("\\u%04x", c:byte()) end) .. '"'
end

function done(summary, latency, requests)
   local total = { good = 0, wrong_status = 0, wrong_body = 0 }
   local seen = ""
   for _, thread in ipairs(threads) do
      for name in pairs(total) do
         total[name] = total[name] + thread:get(name)
      end
      if thread:get("example") ~= "" then
         seen = thread:get("example")
      end
   end
   local errors = summary.errors
   io.write(format(
      '{"good": %d, "wrong_status": %d, "wrong_body": %d, "example": %s, "socket_errors": %d, "timeouts": %d, '
         .. '"seconds": %.6f, "p50_us": %d, "p99_us": %d, "max_us": %d}\n',
      total.good, total.wrong_status, total.wrong_body, quoted(seen),
      errors.connect + errors.read + errors.write, errors.timeout,
      summary.duration / 1e6, latency:percentile(50), latency:percentile(99), latency.max))
end
