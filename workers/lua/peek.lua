-- Everything Redis holds of one task, in one step, so that no reader sees half a transition; reads only.
-- ARGV: 1 now_ms or ''; 2 id; 3 queue to look in where the task has no row that names one; 4 an owner whose lease of
--       this id is wanted beside the one of the task's own owner ('' = none).
-- Returns: ok, JSON {row, job: flat lists of field and value (job without its data); attempts, crumbs: the stored JSON
--          texts as one JSON list in a string; results[] of flat lists; in_queue; registries[] of RQ's statuses;
--          started[] of fences; listed, expires, due, counted: scores or null; ended: {state: score}; lease, other_lease: fences or null; deadline of
--          the owner or null; damaged[] of {key, type}}.
-- A key of a wrong type counts as absent and is named in `damaged`.
local id = ARGV[2]
local damaged = {}
local function fit(key, kind)
  local actual = redis.call('TYPE', key).ok
  if actual ~= kind and actual ~= 'none' then damaged[#damaged + 1] = {key, actual} end
  return actual == kind
end
local function flat(key)
  return fit(key, 'hash') and redis.call('HGETALL', key) or {}
end
local function score(key)
  return fit(key, 'zset') and redis.call('ZSCORE', key, id) or nil
end
local function leased(owner)
  return owner ~= '' and fit(K.LEASES .. owner, 'hash') and redis.call('HGET', K.LEASES .. owner, id) or nil
end

local function joined(texts)
  return '[' .. table.concat(texts, ',') .. ']'
end

local row, queue, owner = flat(K.TASK .. id), ARGV[3], ''
for i = 1, #row, 2 do
  if row[i] == 'queue' then queue = row[i + 1] elseif row[i] == 'owner' then owner = row[i + 1] end
end
local job, whole = {}, flat(K.RQ_JOB .. id)
for i = 1, #whole, 2 do
  if whole[i] ~= 'data' then
    job[#job + 1] = whole[i]
    job[#job + 1] = whole[i + 1]
  end
end
local results = {}
if fit(K.RQ_RESULTS .. id, 'stream') then
  for _, entry in ipairs(redis.call('XRANGE', K.RQ_RESULTS .. id, '-', '+')) do results[#results + 1] = entry[2] end
end
local in_queue, registries, started = 0, {}, {}
if queue ~= '' then
  if fit(K.RQ_QUEUE .. queue, 'list') then
    in_queue = #redis.call('LPOS', K.RQ_QUEUE .. queue, id, 'COUNT', 0)
  end
  for status, registry in pairs(RQ_REGISTRY) do
    if status == 'started' then
      if fit(registry .. queue, 'zset') then
        for _, member in ipairs(redis.call('ZRANGE', registry .. queue, 0, -1)) do
          if string.sub(member, 1, #id + 1) == id .. ':' then started[#started + 1] = string.sub(member, #id + 2) end
        end
      end
    elseif score(registry .. queue) then
      registries[#registries + 1] = status
    end
  end
end
local answer = {
  row = row, job = job, results = results, in_queue = in_queue, registries = registries, started = started,
  attempts = joined(fit(K.ATTEMPTS .. id, 'hash') and redis.call('HVALS', K.ATTEMPTS .. id) or {}),
  crumbs = joined(fit(K.CRUMBS .. id, 'list') and redis.call('LRANGE', K.CRUMBS .. id, 0, -1) or {}),
  listed = score(K.TASKS), counted = score(K.STATES .. string.match(queue, '^[^.]*')), expires = score(K.AGES), due = score(K.DUE),
  lease = leased(owner), other_lease = leased(ARGV[4]),
}
answer.ended = {}
for state in pairs(TERMINAL) do answer.ended[state] = score(K.ENDED .. state) end
if owner ~= '' and fit(K.OWNERS, 'zset') then answer.deadline = redis.call('ZSCORE', K.OWNERS, owner) or nil end
answer.damaged = damaged
return {'ok', cjson.encode(answer)}
