-- KEYS: the entry, the counter of its bucket. ARGV: what is expected, milliseconds to live, the value.
local held = redis.call('GETRANGE', KEYS[1], 0, 15)
if ARGV[1] == '-' then
  if held ~= '' then return 0 end
elseif ARGV[1] ~= '*' and held ~= ARGV[1] then
  return 0
end
-- A script that has begun to write is not stopped for lack of memory: what is replaced has its room.
if held ~= '' then redis.call('DEL', KEYS[1]) end
local time = redis.call('TIME')
local version = string.format('%016.0f', math.max(
  time[1] * 1000000 + time[2],
  (tonumber(redis.call('GET', KEYS[2])) or 0) + 1,
  (tonumber(held) or 0) + 1))
redis.call('SET', KEYS[2], version)
if ARGV[2] ~= '0' then
  redis.call('SET', KEYS[1], version .. ARGV[3], 'PX', ARGV[2])
end
return version
