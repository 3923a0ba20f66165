-- How much ended tasks take, measured at some of each state, chosen by chance; reads only.
-- ARGV: 1 now_ms or ''; 2 how many of each state to measure.
-- Returns: ok, {state, how many there are, how many were measured, their bytes, ...}.
local answer = {}
for state in pairs(TERMINAL) do
  local list = K.ENDED .. state
  if redis.call('TYPE', list).ok == 'zset' then
    local ids, bytes = redis.call('ZRANDMEMBER', list, ARGV[2]), 0
    for _, id in ipairs(ids) do
      for _, prefix in ipairs({K.TASK, K.CRUMBS, K.ATTEMPTS, K.RQ_JOB, K.RQ_RESULTS}) do
        bytes = bytes + (redis.call('MEMORY', 'USAGE', prefix .. id, 'SAMPLES', 0) or 0)
      end
    end
    for _, value in ipairs({state, redis.call('ZCARD', list), #ids, bytes}) do answer[#answer + 1] = value end
  end
end
return {'ok', answer}
