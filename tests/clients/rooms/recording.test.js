// Recording: the host starts and stops it, everybody is told.
import { assert, behind, join, overBoth, unique } from '../lib.js';

overBoth('recording', (transport, it) => {
  it('the host starts and stops, the whole room is told, and an id names what was recorded', async () => {
    const roomId = unique('room');
    const host = await join(transport, roomId, 'host');
    const guest = await join(transport, roomId, 'guest');
    host.emit('start-recording', { roomId });
    for (const member of [host, guest]) await member.wait('recording-started');
    host.emit('code-change', { roomId, code: 'recorded' });
    await guest.wait('code-update', (u) => u.code === 'recorded');
    host.emit('stop-recording', { roomId });
    const ids = [];
    for (const member of [host, guest]) ids.push((await member.wait('recording-stopped')).recordingId);
    assert.ok(ids[0]);
    assert.equal(ids[0], ids[1]);
  });

  it('a guest may not', async () => {
    const roomId = unique('room');
    const host = await join(transport, roomId, 'host');
    const guest = await join(transport, roomId, 'guest');
    for (const name of ['start-recording', 'stop-recording']) {
      guest.emit(name, { roomId });
      assert.equal(typeof (await guest.wait('error')).message, 'string');
    }
    await behind(guest, host, roomId);
    assert.equal(host.all('recording-started').length + host.all('recording-stopped').length, 0);
  });
});
