-- Counts what an attempt spends against every budget it draws on, and takes nothing where one of them is reached.
-- ARGV: 1 now_ms or ''; 2 verb; 3 task id; 4 fence; 5 request id; 6 plan: JSON {
--   task{dim: limit}, scopes[{key, keep_ms, owner, name, per, window, limit{dim: limit}}], add{dim: amount}, must (bool: count it in any case),
--   ledger, ledger_keep_ms, agent, class, and of verbs admit and close: dearest (key), guess[dims]}
--   take    counts `add`; a budget is reached once nothing of it is left, so that the last to be taken may overshoot
--   admit   the same for an attempt about to start, plus of each dim of `guess` the dearest that an attempt has had so
--           far; while nobody knows that, one attempt at a time
--   close   an attempt has ended: counts `add` (what was used less what was taken), books `total` from class open to
--           `class`, and learns from `used`. Needs no fence.
-- Returns: taken, JSON of what `guess` added | reached, n, dim, limit, spent (n: 0 the task, else of `scopes`) | busy, n |
--          lost | missing | wrong_type, key, type. A request that is sent again is answered as the first time.
local now = clock(ARGV[1])
local verb, id, fence, rid, plan = ARGV[2], ARGV[3], ARGV[4], ARGV[5], cjson.decode(ARGV[6])
local wrong = misfit({K.TASK .. id, 'hash', plan.ledger, 'hash', K.BUDGETS, 'hash', K.OWNERS, 'zset'})
for _, scope in ipairs(plan.scopes) do wrong = wrong or misfit({scope.key, 'hash'}) end
if plan.dearest then wrong = wrong or misfit({plan.dearest, 'hash'}) end
if wrong then return wrong end
local row = redis.call('HMGET', K.TASK .. id, 'state', 'fence', 'spent')
if not row[1] then return {'missing'} end
if verb ~= 'close' and row[2] ~= fence then return {'lost'} end
local mine = row[3] and decoded(row[3]) or {}
local sum, last = type(mine.sum) == 'table' and mine.sum or {}, type(mine.last) == 'table' and mine.last or {}
for _, done in ipairs(last) do
  if done[1] == rid then return {'taken', done[2]} end
end

local function number(key, field)
  return tonumber(redis.call('HGET', key, field) or '0') or 0
end

-- What a start is guessed to cost, and whether somebody else is finding that out.
local guessed, unknown = {}, false
for _, dim in ipairs(verb == 'admit' and plan.guess or {}) do
  guessed[dim] = redis.call('HGET', plan.dearest, dim) and number(plan.dearest, dim) or nil
  unknown = unknown or not guessed[dim]
end
local mark = id .. ' ' .. fence
if not plan.must then
  for dim, limit in pairs(plan.task) do
    if (tonumber(sum[dim]) or 0) >= limit then return {'reached', 0, dim, limit, tonumber(sum[dim])} end
  end
  for n, scope in ipairs(plan.scopes) do
    for dim, limit in pairs(scope.limit) do
      local spent = number(scope.key, dim)
      if spent >= limit then return {'reached', n, dim, limit, spent} end
    end
    local other = unknown and redis.call('HGET', scope.key, 'first')
    if other and other ~= mark then
      local who, held = string.match(other, '^(%S+) (%S+)$')
      -- Who does not hold its task any more finds nothing out.
      if who and redis.call('TYPE', K.TASK .. who).ok == 'hash' and redis.call('HGET', K.TASK .. who, 'fence') == held then
        return {'busy', n}
      end
    end
  end
end

open_at_maxmemory()
local add = plan.add
for dim, amount in pairs(guessed) do add[dim] = (add[dim] or 0) + amount end
local function count(key, field, amount)
  redis.call('HSET', key, field, string.format('%.0f', math.max(0, number(key, field) + amount)))
end
for _, scope in ipairs(plan.scopes) do
  for dim, amount in pairs(add) do count(scope.key, dim, amount) end
  if unknown then redis.call('HSET', scope.key, 'first', mark) end
  if verb == 'admit' then
    local shown = {key = scope.key, owner = scope.owner, name = scope.name, per = scope.per, window = scope.window,
      limit = scope.limit}
    redis.call('HSET', K.BUDGETS, table.concat({scope.owner, scope.name, scope.per}, ' '), cjson.encode(shown))
  end
  if verb == 'close' and redis.call('HGET', scope.key, 'first') == mark then redis.call('HDEL', scope.key, 'first') end
  redis.call('PEXPIRE', scope.key, scope.keep_ms)
end
for dim, amount in pairs(add) do
  sum[dim] = math.max(0, (tonumber(sum[dim]) or 0) + amount)
  count(plan.ledger, plan.agent .. ' open ' .. dim, amount)
end
if verb == 'close' then
  for dim, amount in pairs(plan.total) do
    count(plan.ledger, plan.agent .. ' open ' .. dim, -amount)
    count(plan.ledger, plan.agent .. ' ' .. plan.class .. ' ' .. dim, amount)
  end
  for _, dim in ipairs(plan.guess) do
    local used = plan.used[dim] or 0
    if used > number(plan.dearest, dim) or redis.call('HEXISTS', plan.dearest, dim) == 0 then
      redis.call('HSET', plan.dearest, dim, string.format('%.0f', used))
    end
  end
end
redis.call('PEXPIRE', plan.ledger, plan.ledger_keep_ms)
local told = next(guessed) and cjson.encode(guessed) or '{}'
last[#last + 1] = {rid, told}
while #last > 16 do table.remove(last, 1) end
redis.call('HSET', K.TASK .. id, 'spent', cjson.encode({sum = next(sum) and sum or nil, last = last}))
return {'taken', told}
