// Clients that joined without userId get strings where newer ones get objects; both share a room.
import { assert, behind, join, overBoth, unique } from '../lib.js';

overBoth('dialects side by side', (transport, it) => {
  it('an old client gets strings, and the code once on joining', async () => {
    const roomId = unique('room');
    const young = await join(transport, roomId, 'young');
    young.emit('code-change', { roomId, code: 'before' });
    await young.settled(roomId);
    const old = await join(transport, roomId, 'old', { old: true });
    assert.equal(await old.wait('code-update'), 'before');
    assert.equal((await young.wait('user-joined')).userId, old.socket.id, 'its socket id');
    young.emit('code-change', { roomId, code: 'after' });
    assert.equal(await old.wait('code-update'), 'after');
    young.emit('language-change', { roomId, language: 'ruby' });
    assert.equal(await old.wait('language-update'), 'ruby');
    old.emit('code-change', { roomId, code: 'from the old' });
    const update = await young.wait('code-update');
    assert.equal(update.code, 'from the old');
    assert.equal(update.username, 'old');
    assert.equal(typeof update.sequence, 'number');
    await behind(young, old, roomId);
    for (const name of ['code-update', 'language-update'])
      assert.ok(old.all(name).every((payload) => typeof payload === 'string'), `never an object: ${JSON.stringify(old.all(name))}`);
  });

  it('both get the results of runs, under their own ids', async () => {
    const roomId = unique('room');
    const young = await join(transport, roomId, 'young');
    const old = await join(transport, roomId, 'old', { old: true });
    old.emit('execute-code', { roomId, code: "print('of the old')", language: 'python' });
    for (const member of [young, old]) {
      const result = await member.wait('execution-result');
      assert.equal(result.userId, old.socket.id);
      assert.equal(result.username, 'old', 'the name from joining');
      assert.equal(result.output, 'of the old\n');
    }
    await behind(young, old, roomId);
    assert.ok(old.all('code-update').every((payload) => typeof payload === 'string'));
  });
});
