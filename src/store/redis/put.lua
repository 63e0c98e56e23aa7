-- KEYS: the entry, the counter of its bucket. ARGV: what is expected, milliseconds to live, the value, the class.
local held = redis.call('GETRANGE', KEYS[1], 0, 15)
if ARGV[1] == '-' then
  if held ~= '' then return 0 end
elseif ARGV[1] ~= '*' and held ~= ARGV[1] then
  return 0
end
-- A script whose first write needs no memory is not stopped for lack of it (documentation of EVAL, "low memory
-- conditions"): so what is replaced has its room, and a protected entry is always written.
if held ~= '' or ARGV[4] == 'protected' then
  redis.call('DEL', KEYS[1])
elseif ARGV[4] == 'unauthenticated' then
  -- What callers without credentials create leaves an eighth to the others. A user who may not run INFO
  -- has no such limit.
  local memory = redis.pcall('INFO', 'memory')
  if type(memory) == 'string' then
    local used = tonumber(string.match(memory, 'used_memory:(%d+)'))
    local most = tonumber(string.match(memory, 'maxmemory:(%d+)'))
    if used and most and most > 0 and used > most - most / 8 then
      return redis.error_reply('OOM no room for entries of unauthenticated callers')
    end
  end
end
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
