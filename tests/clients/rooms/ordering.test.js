// The numbers that clients put on what they send: in order, ahead, behind.
import { assert, assertWithoutHoles, behind, join, overBoth, sequences, unique } from '../lib.js';

overBoth('order of a client', (transport, it) => {
  it('numbers in order count at once and come back as clientSequence', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const bob = await join(transport, roomId, 'bob');
    const start = alice.state.nextExpectedSequence;
    for (let n = 0; n < 3; n++) alice.emit('code-change', { roomId, code: `${n}`, sequence: start + n });
    for (let n = 0; n < 3; n++) {
      const update = await bob.wait('code-update');
      assert.deepEqual([update.code, update.clientSequence], [`${n}`, start + n]);
    }
    assertWithoutHoles(sequences(bob), bob.state.nextExpectedSequence);
    assert.deepEqual(alice.all('sequence-gap-detected'), []);
  });

  it('what comes ahead is buffered, the sender is told, and order is restored', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const bob = await join(transport, roomId, 'bob');
    const start = alice.state.nextExpectedSequence;
    alice.emit('code-change', { roomId, code: 'first', sequence: start });
    alice.emit('code-change', { roomId, code: 'fourth', sequence: start + 3 });
    alice.emit('code-change', { roomId, code: 'third', sequence: start + 2 });
    const gap = await alice.wait('sequence-gap-detected');
    assert.deepEqual([gap.expectedSequence, gap.receivedSequence], [start + 1, start + 3]);
    await behind(alice, bob, roomId);
    assert.deepEqual(bob.all('code-update').map((u) => u.code), ['first'], 'the others wait');
    alice.emit('code-change', { roomId, code: 'second', sequence: start + 1 });
    await bob.wait('code-update', (u) => u.code === 'fourth');
    assert.deepEqual(bob.all('code-update').map((u) => u.code), ['first', 'second', 'third', 'fourth']);
    assert.deepEqual(bob.all('code-update').map((u) => u.clientSequence), [start, start + 1, start + 2, start + 3]);
    assertWithoutHoles(sequences(bob), bob.state.nextExpectedSequence);
    assert.equal(bob.all('sequence-gap-detected').length, 0, 'only the sender is told');
  });

  it('duplicates have no effect', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const bob = await join(transport, roomId, 'bob');
    const start = alice.state.nextExpectedSequence;
    alice.emit('code-change', { roomId, code: 'once', sequence: start });
    alice.emit('code-change', { roomId, code: 'again', sequence: start });
    alice.emit('code-change', { roomId, code: 'next', sequence: start + 1 });
    alice.emit('code-change', { roomId, code: 'late', sequence: start });
    alice.emit('code-change', { roomId, code: 'end', sequence: start + 2 });
    await bob.wait('code-update', (u) => u.code === 'end');
    assert.deepEqual(bob.all('code-update').map((u) => u.code), ['once', 'next', 'end']);
    assertWithoutHoles(sequences(bob), bob.state.nextExpectedSequence);
  });

  it('two clients that use the same numbers both count', async () => {
    const roomId = unique('room');
    const watcher = await join(transport, roomId, 'watcher');
    const alice = await join(transport, roomId, 'alice');
    const bob = await join(transport, roomId, 'bob');
    const start = alice.state.nextExpectedSequence;
    for (let n = 0; n < 5; n++)
      for (const who of [alice, bob]) who.emit('code-change', { roomId, code: `${who.username} ${n}`, sequence: start + n });
    await watcher.wait('code-update', (u) => u.sequence === watcher.state.sequence + 10);
    for (const who of ['alice', 'bob'])
      assert.deepEqual(
        watcher.all('code-update').filter((u) => u.username === who).map((u) => [u.code, u.clientSequence]),
        [0, 1, 2, 3, 4].map((n) => [`${who} ${n}`, start + n]),
      );
    assertWithoutHoles(sequences(watcher), watcher.state.nextExpectedSequence);
  });

  it('messages without a number pass those that wait', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const bob = await join(transport, roomId, 'bob');
    const start = alice.state.nextExpectedSequence;
    alice.emit('code-change', { roomId, code: 'a', sequence: start });
    alice.emit('code-change', { roomId, code: 'c', sequence: start + 2 });
    alice.emit('language-change', { roomId, language: 'go' });
    assert.equal((await bob.wait('language-update')).language, 'go');
    assert.deepEqual(bob.all('code-update').map((u) => u.code), ['a']);
    alice.emit('code-change', { roomId, code: 'b', sequence: start + 1 });
    await bob.wait('code-update', (u) => u.code === 'c');
    assert.deepEqual(bob.all('code-update').map((u) => u.code), ['a', 'b', 'c']);
  });

  it('a run that rests on a change that has not arrived is refused, to its sender alone', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const bob = await join(transport, roomId, 'bob');
    const start = alice.state.nextExpectedSequence;
    alice.emit('code-change', { roomId, code: 'x', sequence: start });
    alice.emit('execute-code', { roomId, code: 'print(1)', language: 'python', codeChangeSequence: start + 5 });
    const refused = await alice.wait('execution-result');
    assert.equal(refused.success, false);
    assert.equal(refused.error, 'Cannot execute: code state not ready');
    assert.equal(refused.roomId, roomId);
    assert.ok(refused.correlationId);
    alice.emit('execute-code', { roomId, code: 'print(2)', language: 'python', codeChangeSequence: start });
    assert.equal((await bob.wait('execution-result')).output, '2\n');
    assert.equal(bob.all('execution-result').length, 1, 'the refusal was not for the others');
    assertWithoutHoles(sequences(bob), bob.state.nextExpectedSequence);
  });

  it('runs are numbered messages too', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const bob = await join(transport, roomId, 'bob');
    const start = alice.state.nextExpectedSequence;
    alice.emit('execute-code', { roomId, code: "print('second')", language: 'python', sequence: start + 1 });
    await alice.settled(roomId);
    alice.emit('code-change', { roomId, code: 'first', sequence: start });
    await bob.wait('execution-result', (r) => r.output === 'second\n');
    assert.deepEqual(
      bob.received.filter((e) => /^(code-update|execution-started|execution-result)$/.test(e.name)).map((e) => e.name),
      ['code-update', 'execution-started', 'execution-result'],
    );
  });
});
