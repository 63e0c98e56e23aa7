-- KEYS: entry. ARGV: expected version.
local current = redis.call('GETRANGE', KEYS[1], 0, 15)
if current == '' then return 0 end
if ARGV[1] == '-' or (ARGV[1] ~= '*' and current ~= ARGV[1]) then return -1 end
redis.call('DEL', KEYS[1])
return 1
