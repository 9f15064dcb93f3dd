-- KEYS: leases. ARGV: instance, length in microseconds, own channel. Says whether the lease had run out, and
-- whose have.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function text(number) return string.format('%.0f', number) end
local mine = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], text(now + ARGV[2]), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now - 3600000000))
redis.call('PUBLISH', ARGV[3], '')
local dead = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', text(now))
return {(not mine or tonumber(mine) <= now) and 'lapsed' or 'held', unpack(dead)}
