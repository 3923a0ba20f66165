-- The one write that moves a task: compares state and fence, then writes everything the transition says.
-- `plan`: {
--   id, rid, from, fence ('' where no lease is needed), event, to, who, queue, owner (whose lease ends; '' = none),
--   set{}, drop[] (fields of the task)}; and where there is something to say:
--   reason, evidence, times{}, attempt{} (patch of the attempt's record), attempt_times{} (of the task and of the record:
--   how many ms ago), job{} (RQ job hash fields), result{} (a row of RQ's result stream), drop_result (bool),
--   waits (bool: it is a state of waiting), due_in_ms (deferred for so long from now), max_age_ms (give the task a new age),
--   bell (whom to ring), after (ids of the tasks that it waits for again),
--   incident (what a failure tells: see incidents.lua),
--   through ([ms ago, event, to, reason, evidence] of each move that went before it and is written with it, all of them
--   between states of the lease),
--   heeds_cancel (bool: it would lead to another run, so a cancel that was asked goes before it),
--   gate (what the end tells the gate of the agent's provider; settle.lua tells it)
-- Returns: done, now | already, now (this very request was carried out before) | changed, state, fence | missing |
--          cancel_asked (nothing was written) | unknown, id | ended, id, state | met, id (of `after`, see enqueue.lua) |
--          wrong_type, key, type. Beside `done` what the lease was counted under that has ended, if anything (caps.lua).
-- Refused events only append their breadcrumb, from and to the state that is, at most 1,000 in all.
local function settle(now, plan)
  local id, queue = plan.id, plan.queue
  local row, wrong = nil, nil
  -- What ends well is written anew, whole.
  if SUCCESS[plan.to] then row, wrong = whole_row(id) else row, wrong = task_row(id, 'fence', 'cancel', 'caps', 'rids', 'rids2') end
  wrong = wrong or unfit_beside(id) or misfit({K.DUE, 'zset', K.AGES, 'zset', K.OWNERS, 'zset'})
    or plan.owner ~= '' and misfit({K.LEASES .. plan.owner, 'hash'})
  if wrong then return wrong end
  if not row.state then return {'missing'} end
  local fence, n, refused = row.fence or '', tonumber(row.attempt), string.sub(plan.event, 1, 8) == 'refused:'
  -- Who came too late is recorded wherever the task stands by now: it may have moved on since that was looked at.
  if refused then plan.from, plan.to = row.state, row.state end
  local moved = row.state ~= plan.from or (plan.fence ~= '' and row.fence ~= plan.fence)
  -- Without a fence no task is moved that somebody holds; it may only be asked for something.
  if plan.fence == '' and row.fence and plan.from ~= plan.to then moved = true end
  -- A fence never comes back; without one, or where the state stays, the same request could be carried out twice.
  if moved or plan.fence == '' or plan.from == plan.to then
    if done_before(id, plan.rid, row) then return {'already', now} end
    if moved then return {'changed', row.state, fence} end
  end
  if plan.heeds_cancel and row.cancel then return {'cancel_asked'} end
  local open, bad = nil, nil
  if plan.after then
    open, bad = followers().awaited(plan.after)
    if bad then return bad end
    if #open == 0 then return {'met', id} end
  end
  if not refused and plan.from ~= plan.to and RQ_STATUS[plan.to] == 'queued' then
    wrong = no_room_in(queue)
    if wrong then return wrong end
  end
  local followed = TERMINAL[plan.to] and redis.call('EXISTS', K.FOLLOWERS .. id) == 1
  if followed then
    wrong = misfit({K.FOLLOWERS .. id, 'list', K.FOLLOWING, 'zset'})
    if wrong then return wrong end
  end

  open_at_maxmemory()
  if refused then
    if redis.call('LLEN', K.CRUMBS .. id) < 1000 then
      crumb(id, now, plan.from, plan.event, plan.to, plan.reason, n, fence, plan.who, plan.rid, plan.evidence)
    end
    return {'done', now}
  end

  for field, ago in pairs(plan.attempt_times or {}) do
    plan.attempt = plan.attempt or {}
    plan.attempt[field] = now - ago
  end
  if plan.incident then
    local prior = incidents().incident_before(id, row.attempt)
    local told = incidents().report_incident(plan.incident, now, id, prior)
    if plan.attempt then plan.attempt.incident = told end
  end
  plan.set.state = plan.to
  for field, ago in pairs(plan.times or {}) do plan.set[field] = whole_number(now - ago) end
  local crumbs, from = {}, plan.from
  for _, one in ipairs(plan.through or {}) do
    crumbs[#crumbs + 1] =
      crumb_row(now - one[1], from, one[2], one[3], one[4], n, fence, plan.who, plan.rid, one[5])
    from = one[3]
  end
  crumbs[#crumbs + 1] =
    crumb_row(now, from, plan.event, plan.to, plan.reason, n, fence, plan.who, plan.rid, plan.evidence)
  local expires, under = row.expires_at, plan.owner ~= '' and row.caps or nil
  if not (SUCCESS[plan.to] and keeping().keep(id, row, plan, crumbs)) then
    write_fields(K.TASK .. id, plan.set)
    if #plan.drop > 0 then redis.call('HDEL', K.TASK .. id, unpack(plan.drop)) end
    if plan.attempt then patch_attempt(id, row.attempt, plan.attempt) end
    for i, one in ipairs(crumbs) do crumbs[i] = cjson.encode(one) end
    redis.call('RPUSH', K.CRUMBS .. id, unpack(crumbs))
    if plan.job then job_fields(id, plan.job) end
  end
  if plan.owner ~= '' then
    redis.call('HDEL', K.LEASES .. plan.owner, id)
    if under then caps().caps_leave(id, under) end
  end

  -- Of a leased task no time is listed: its lease took it off them.
  local due, listed = nil, RQ_STATUS[plan.from] ~= 'started'
  if listed then redis.call('ZREM', K.DUE, id) end
  if plan.due_in_ms then
    due = now + plan.due_in_ms
    redis.call('HSET', K.TASK .. id, 'not_before', due)
    redis.call('ZADD', K.DUE, due, id)
  end
  if plan.max_age_ms then
    expires = now + plan.max_age_ms
    redis.call('HSET', K.TASK .. id, 'expires_at', expires)
  end
  if plan.from ~= plan.to then
    count_as(id, queue, plan.to)
    end_as(id, plan.from, plan.to, now)
  end
  if plan.waits then
    redis.call('ZADD', K.AGES, expires, id)
  elseif listed then
    redis.call('ZREM', K.AGES, id)
  end

  if plan.drop_result and typed(K.RQ_RESULTS .. id, 'stream') then redis.call('DEL', K.RQ_RESULTS .. id) end
  if RQ_STATUS[plan.from] ~= RQ_STATUS[plan.to] then
    leave_view(id, queue, RQ_STATUS[plan.from], fence)
    enter_view(id, queue, RQ_STATUS[plan.to], fence, due)
  elseif plan.due_in_ms or RQ_STATUS[plan.to] == 'deferred' then
    enter_view(id, queue, RQ_STATUS[plan.to], fence, due)
  end
  if plan.result then rq_result(id, plan.result) end
  if open then followers().wait_for(id, open) end
  -- A few are told in this very step; many, and what follows from an end without success, are left to the reapers.
  if followed and not (SUCCESS[plan.to]
      and followers().tell_followers(id, plan.to, now, plan.job.ended_at, plan.who, 16)) then
    redis.call('ZADD', K.FOLLOWING, now, id)
    redis.call('PUBLISH', K.BELL, K.FOLLOWING)
  end
  if plan.bell then redis.call('PUBLISH', K.BELL, plan.bell) end
  return {'done', now}, under
end
