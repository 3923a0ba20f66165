-- Ids of the tasks that are counted in one state, in the order of their bytes, from after a given one on; reads only.
-- ARGV: 1 now_ms or ''; 2 lane; 3 state; 4 id to begin after ('' = with the first); 5 limit.
-- Returns: ok, how many there are in all, {ids} | wrong_type, key, type.
-- Whoever leaves or enters the state meanwhile moves no other: a walk that goes on after the last id it was given meets
-- each that stays once, and none twice.
local key, number = K.STATES .. ARGV[2], STATE_NUMBER[ARGV[3]]
local wrong = misfit({key, 'zset'})
if wrong then return wrong end

-- As Redis orders members of one score; Lua's own `>` goes by the server's locale.
local function is_after(id, other)
  for i = 1, math.min(#id, #other) do
    local a, b = string.byte(id, i), string.byte(other, i)
    if a ~= b then return a > b end
  end
  return #id > #other
end

local first = redis.call('ZCOUNT', key, '-inf', '(' .. number)
local count = redis.call('ZCOUNT', key, number, number)
local low, past = first, first + count
while low < past do
  local middle = math.floor((low + past) / 2)
  if is_after(redis.call('ZRANGE', key, middle, middle)[1], ARGV[4]) then past = middle else low = middle + 1 end
end
local last = math.min(low + tonumber(ARGV[5]), first + count) - 1
return {'ok', count, last >= low and redis.call('ZRANGE', key, low, last) or {}}
