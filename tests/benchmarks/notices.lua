-- Unique notices at full speed, from one thread of wrk: of each application first 04, then of each 05, then no more.
function init(args)
  first, count = tonumber(args[1]), tonumber(args[2])
  number, status = first, "04"
end

function request()
  if status == nil then
    wrk.thread:stop()
    return wrk.format("GET", "/")  -- something must be returned; nobody waits for the answer
  end
  local order_no = string.format("%08d-1", number)
  local query = "clientip=1234567890&money=3000&username=%83%84%83%7D%83_%81%40%83%5E%83%8D%83E" ..
    "&telno=09012345678&email=taro%40example.com&sendid=S" .. string.format("%019d", number) ..
    "&sendpoint=&order_no=" .. order_no .. "&pay_cvs=D002&pay_no1=123456&pay_no2=654321&pay_limit=20991231" ..
    "&status=" .. status .. "&error_code="
  number = number + 1
  if number == first + count then
    number, status = first, status == "04" and "05" or nil
  end
  return wrk.format("GET", "/zeus-cvs/callback?" .. query)
end

function done(summary, latency, requests)
  io.write(string.format(
    "\nFIGURES %d %d %d %d %d %d %d\n", summary.requests, summary.duration,
    summary.errors.connect + summary.errors.read + summary.errors.write, summary.errors.status,
    summary.errors.timeout, latency:percentile(50), latency:percentile(99)))
end
