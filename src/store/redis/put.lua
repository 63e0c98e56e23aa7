-- KEYS: entry, version counter of its bucket. ARGV: expected version, TTL in milliseconds, value, class.
local current = redis.call('GETRANGE', KEYS[1], 0, 15)
if ARGV[1] == '-' then
  if current ~= '' then return 0 end
elseif ARGV[1] ~= '*' and current ~= ARGV[1] then
  return 0
end
-- Redis does not abort a script for lack of memory if its first write needs no memory (documentation of EVAL, "low
-- memory conditions"). The DEL ensures that replacing an entry and writing a protected entry always succeed.
if current ~= '' or ARGV[4] == 'protected' then
  redis.call('DEL', KEYS[1])
elseif ARGV[4] == 'unauthenticated' then
  -- Entries of unauthenticated callers must leave an eighth of the memory to other classes. Not enforced if the user
  -- may not run INFO.
  local memory = redis.pcall('INFO', 'memory')
  if type(memory) == 'string' then
    local used = tonumber(string.match(memory, 'used_memory:(%d+)'))
    local limit = tonumber(string.match(memory, 'maxmemory:(%d+)'))
    if used and limit and limit > 0 and used > limit - limit / 8 then
      return redis.error_reply('OOM no capacity for entries of unauthenticated callers')
    end
  end
end
local time = redis.call('TIME')
local version = string.format('%016.0f', math.max(
  time[1] * 1000000 + time[2],
  (tonumber(redis.call('GET', KEYS[2])) or 0) + 1,
  (tonumber(current) or 0) + 1))
redis.call('SET', KEYS[2], version)
if ARGV[2] ~= '0' then
  redis.call('SET', KEYS[1], version .. ARGV[3], 'PX', ARGV[2])
end
return version
