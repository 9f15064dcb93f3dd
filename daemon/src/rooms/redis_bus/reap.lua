-- Daemons died: their members leave the room, and what they ran is told as interrupted.
if redis.call('HEXISTS', room, 'epoch') == 1 then reap() end
return 1
