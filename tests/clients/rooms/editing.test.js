// Changes of code, language and debug state, and the room's own numbers on them.
import { assert, assertWithoutHoles, behind, join, overBoth, sequences, unique } from '../lib.js';

overBoth('editing', (transport, it) => {
  it('a change goes to the others with the next number, and to late comers as the state', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const bob = await join(transport, roomId, 'bob');
    const first = alice.state.nextExpectedSequence;
    alice.emit('code-change', { roomId, code: 'one' });
    alice.emit('language-change', { roomId, language: 'python' });
    alice.emit('code-change', { roomId, code: 'two' });
    assert.deepEqual(await bob.wait('code-update'), { code: 'one', sequence: first, username: 'alice' });
    assert.deepEqual(await bob.wait('language-update'), { language: 'python', sequence: first + 1, username: 'alice' });
    assert.deepEqual(await bob.wait('code-update'), { code: 'two', sequence: first + 2, username: 'alice' });
    await behind(bob, alice, roomId);
    assert.deepEqual(alice.all('code-update'), [], 'the sender knows');
    const carol = await join(transport, roomId, 'carol');
    assert.equal(carol.state.code, 'two');
    assert.equal(carol.state.language, 'python');
    assert.equal(carol.state.sequence, first + 2);
    assert.equal(carol.state.nextExpectedSequence, first + 3);
  });

  it('the debug state goes to the others as it was given', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const bob = await join(transport, roomId, 'bob');
    const state = { line: 3, stack: ['f', 'g'], nested: { ok: null } };
    alice.emit('debug-state', { roomId, state });
    assert.deepEqual(await bob.wait('debug-state-update'), state);
    await behind(bob, alice, roomId);
    assert.equal(alice.all('debug-state-update').length, 0);
  });

  it('two hundred changes from four writers arrive everywhere in one order without holes', async () => {
    const roomId = unique('room');
    const watcher = await join(transport, roomId, 'watcher');
    const second = await join(transport, roomId, 'second');
    const writers = await Promise.all(['a', 'b', 'c', 'd'].map((name) => join(transport, roomId, name)));
    for (let n = 0; n < 50; n++) for (const writer of writers) writer.emit('code-change', { roomId, code: `${writer.username} ${n}` });
    const last = watcher.state.sequence + 200;
    for (const client of [watcher, second]) await client.wait('code-update', (u) => u.sequence === last);
    assertWithoutHoles(sequences(watcher), watcher.state.nextExpectedSequence);
    assert.deepEqual(watcher.all('code-update'), second.all('code-update'));
    for (const writer of writers) {
      const own = watcher.all('code-update').filter((u) => u.username === writer.username).map((u) => u.code);
      assert.deepEqual(own, Array.from({ length: 50 }, (_, n) => `${writer.username} ${n}`), 'each writer in its own order');
    }
    // A writer misses exactly its own.
    const state = await writers[0].settled(roomId);
    assert.equal(state.sequence, last);
    assert.equal(sequences(writers[0]).length, 150);
    assert.equal(state.code, watcher.all('code-update').at(-1).code);
  });

  it('code of any kind passes unchanged', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const bob = await join(transport, roomId, 'bob');
    for (const code of ['', '<script>alert(1)</script>', 'ü🙂\u0000\r\n\t', 'x'.repeat(9999), '"\\u0000']) {
      alice.emit('code-change', { roomId, code });
      assert.equal((await bob.wait('code-update')).code, code);
    }
  });
});
