-- The one write that moves a task: compares state and fence, then writes everything the transition says.
-- `plan`: {
--   id, rid, from, fence ('' where no lease is needed), event, to, reason, who, evidence, attempt_n,
--   set{}, drop[] (fields of the task), attempt{} (patch of the attempt's record), owner (whose lease ends; '' = none),
--   queue, job{} (RQ job hash fields), result{} (a row of RQ's result stream), drop_result (bool),
--   due_in_ms|nil (deferred for so long from now), max_age_ms|nil (give the task a new age), bell ('' or whom to ring),
--   after|nil (ids of the tasks that it waits for again),
--   incident|nil (what a failure tells: see incidents.lua),
--   through|nil ([ms ago, event, to, reason, evidence] of each move that went before it and is written with it, all of
--   them between states of the lease),
--   heeds_cancel (bool: it would lead to another run, so a cancel that was asked goes before it),
--   gate|nil (what the end tells the gate of the agent's provider; settle.lua tells it)}
-- Returns: done, now | already, now (this very request was carried out before) | changed, state, fence | missing |
--          cancel_asked (nothing was written) | unknown, id | ended, id, state | met, id (of `after`, see enqueue.lua) |
--          wrong_type, key, type.
-- Refused events only append their breadcrumb, from and to the state that is, at most 1,000 in all.
local function settle(now, plan)
  local id, queue = plan.id, plan.queue
  local wrong = unfit(id) or misfit({
    {K.DUE, 'zset'}, {K.AGES, 'zset'}, {K.OWNERS, 'zset'}, {K.LEASES .. plan.owner, 'hash'}})
  if wrong then return wrong end
  local row = redis.call('HMGET', K.TASK .. id, 'state', 'fence', 'attempt', 'expires_at', 'cancel', 'caps')
  if not row[1] then return {'missing'} end
  local fence, refused = row[2] or '', string.sub(plan.event, 1, 8) == 'refused:'
  -- Who came too late is recorded wherever the task stands by now: it may have moved on since that was looked at.
  if refused then plan.from, plan.to = row[1], row[1] end
  local moved = row[1] ~= plan.from or (plan.fence ~= '' and row[2] ~= plan.fence)
  -- Without a fence no task is moved that somebody holds; it may only be asked for something.
  if plan.fence == '' and row[2] and plan.from ~= plan.to then moved = true end
  -- A fence never comes back; without one, or where the state stays, the same request could be carried out twice.
  if moved or plan.fence == '' or plan.from == plan.to then
    if done_before(id, plan.rid) then return {'already', now} end
    if moved then return {'changed', row[1], row[2] or ''} end
  end
  if plan.heeds_cancel and row[5] then return {'cancel_asked'} end
  local open, bad = nil, nil
  if plan.after then
    open, bad = awaited(plan.after)
    if bad then return bad end
    if #open == 0 then return {'met', id} end
  end
  if not refused and plan.from ~= plan.to and RQ_STATUS[plan.to] == 'queued' then
    wrong = no_room_in(queue)
    if wrong then return wrong end
  end
  local followed = TERMINAL[plan.to] and redis.call('TYPE', K.FOLLOWERS .. id).ok ~= 'none'
  if followed then
    wrong = misfit({{K.FOLLOWERS .. id, 'list'}, {K.FOLLOWING, 'zset'}})
    if wrong then return wrong end
  end

  open_at_maxmemory()
  if refused then
    if redis.call('LLEN', K.CRUMBS .. id) < 1000 then
      crumb(id, now, plan.from, plan.event, plan.to, plan.reason, tonumber(row[3]), fence, plan.who, plan.rid, plan.evidence)
    end
    return {'done', now}
  end

  if plan.incident then
    local told = report_incident(plan.incident, now, id, incident_before(id, row[3]))
    if next(plan.attempt) then plan.attempt.incident = told end
  end
  plan.set.state = plan.to
  write_fields(K.TASK .. id, plan.set, now)
  if #plan.drop > 0 then redis.call('HDEL', K.TASK .. id, unpack(plan.drop)) end
  if next(plan.attempt) then patch_attempt(id, row[3], plan.attempt, now) end
  if plan.owner ~= '' then
    redis.call('HDEL', K.LEASES .. plan.owner, id)
    if row[6] then caps_leave(id, row[6]) end
  end

  local due = nil
  redis.call('ZREM', K.DUE, id)
  if plan.due_in_ms then
    due = now + plan.due_in_ms
    redis.call('HSET', K.TASK .. id, 'not_before', due)
    redis.call('ZADD', K.DUE, due, id)
  end
  local expires = tonumber(row[4])
  if plan.max_age_ms then
    expires = now + plan.max_age_ms
    redis.call('HSET', K.TASK .. id, 'expires_at', expires)
  end
  if plan.from ~= plan.to then
    count_as(id, queue, plan.to)
    end_as(id, plan.from, plan.to, now)
  end
  if plan.waits then redis.call('ZADD', K.AGES, expires, id) else redis.call('ZREM', K.AGES, id) end
  local from = plan.from
  for _, one in ipairs(plan.through or {}) do
    crumb(id, now - one[1], from, one[2], one[3], one[4], tonumber(row[3]), fence, plan.who, plan.rid, one[5])
    from = one[3]
  end
  crumb(id, now, from, plan.event, plan.to, plan.reason, tonumber(row[3]), fence, plan.who, plan.rid, plan.evidence)

  if plan.drop_result and typed(K.RQ_RESULTS .. id, 'stream') then redis.call('DEL', K.RQ_RESULTS .. id) end
  if RQ_STATUS[plan.from] ~= RQ_STATUS[plan.to] then
    leave_view(id, queue, RQ_STATUS[plan.from], fence)
    enter_view(id, queue, RQ_STATUS[plan.to], fence, due)
  elseif plan.due_in_ms or RQ_STATUS[plan.to] == 'deferred' then
    enter_view(id, queue, RQ_STATUS[plan.to], fence, due)
  end
  job_fields(id, plan.job)
  rq_result(id, plan.result)
  if open then wait_for(id, open) end
  -- A few are told in this very step; many, and what follows from an end without success, are left to the reapers.
  if followed and not (SUCCESS[plan.to] and tell_followers(id, plan.to, now, plan.job.ended_at, plan.who, 16)) then
    redis.call('ZADD', K.FOLLOWING, now, id)
    redis.call('PUBLISH', K.BELL, K.FOLLOWING)
  end
  if plan.bell ~= '' then redis.call('PUBLISH', K.BELL, plan.bell) end
  if SUCCESS[plan.to] then keep(id) end
  return {'done', now}
end
