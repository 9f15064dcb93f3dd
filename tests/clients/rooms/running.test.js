// Running programs in a room: what everybody sees, live output, input, cancelling, places in the queue, refusals.
import { assert, assertWithoutHoles, behind, join, overBoth, post, sequences, unique } from '../lib.js';

overBoth('running', (transport, it) => {
  it('started and result carry all their fields, for every member', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const bob = await join(transport, roomId, 'bob');
    alice.emit('execute-code', {
      roomId, code: 'print(input()[::-1])', language: 'python', stdin: 'olleh', userId: alice.userId, username: 'alice',
    });
    for (const member of [alice, bob]) {
      const started = await member.wait('execution-started');
      assert.deepEqual([started.userId, started.username], [alice.userId, 'alice']);
      assert.ok(!Number.isNaN(Date.parse(started.timestamp)));
      const result = await member.wait('execution-result');
      assert.equal(result.correlationId, started.correlationId);
      assert.equal(result.sequence, started.sequence + 1);
      for (const [field, value] of Object.entries({
        success: true, status: 'completed', output: 'hello\n', stdout: 'hello\n', stderr: '', exitCode: 0, language: 'python',
        roomId, userId: alice.userId, username: 'alice',
      }))
        assert.equal(result[field], value, field);
      assert.match(result.executionId, /^exec-\d{13}-/);
      assert.equal(typeof result.executionTime, 'number');
    }
  });

  it('runs over HTTP are announced in their room, those without a room nowhere', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const lost = await join(transport, 'standalone', 'lost').catch(() => null);
    await post('/compile', { language: 'python', code: "print('nowhere')" });
    const answer = await post('/compile', { language: 'python', code: "print('here')", roomId, userId: 'web', username: 'Web' });
    const result = await alice.wait('execution-result');
    assert.equal(result.executionId, answer.body.executionId);
    assert.deepEqual([result.userId, result.username, result.output], ['web', 'Web', 'here\n']);
    const state = await alice.settled(roomId);
    assert.equal(alice.all('execution-result').length, 1);
    assert.equal(state.executionState.executionCount, 1);
    if (lost) assert.equal(lost.all('execution-result').length, 0);
  });

  it('output comes while the program runs, in order and complete', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const bob = await join(transport, roomId, 'bob');
    const code = "import sys, time\nfor n in range(5):\n    print('line', n, flush=True)\n    time.sleep(0.4)\nprint('to stderr', file=sys.stderr)\ntime.sleep(0.6)";
    alice.emit('execute-code', { roomId, code, language: 'python' });
    const first = await bob.wait('execution-output');
    assert.equal(bob.all('execution-result').length, 0, 'before the end');
    assert.deepEqual([first.stream, first.offset], ['stdout', 0]);
    const result = await bob.wait('execution-result');
    const text = { stdout: '', stderr: '' };
    for (const part of bob.all('execution-output')) {
      assert.equal(part.correlationId, result.correlationId);
      assert.equal(part.offset, Buffer.byteLength(text[part.stream]), 'no hole and no overlap');
      text[part.stream] += part.data;
    }
    assert.ok(result.stdout.startsWith(text.stdout) && text.stdout.length > 0);
    assert.ok(result.stderr.startsWith(text.stderr));
    assert.ok(bob.all('execution-output').length >= 2, 'several parts');
  });

  it('a flood of output is bounded for the room', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    alice.emit('execute-code', { roomId, code: "while True: print('x' * 1000)", language: 'python' });
    const result = await alice.wait('execution-result');
    assert.equal(result.limit, 'output');
    const bytes = alice.all('execution-output').reduce((sum, part) => sum + part.data.length, 0);
    assert.ok(bytes <= 512 * 1024, `${bytes} bytes`);
  });

  it('a running program is cancelled by its correlation id', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const bob = await join(transport, roomId, 'bob');
    alice.emit('execute-code', { roomId, code: "print('before', flush=True)\nimport time\ntime.sleep(60)", language: 'python', userId: alice.userId });
    const { correlationId } = await alice.wait('execution-started');
    await alice.wait('execution-output');
    alice.emit('cancel-execution', { roomId, correlationId });
    for (const member of [alice, bob]) {
      const result = await member.wait('execution-result');
      assert.deepEqual([result.success, result.status, result.correlationId], [false, 'cancelled', correlationId]);
      assert.equal(result.stdout, 'before\n', 'what was printed is kept');
    }
    alice.emit('execute-code', { roomId, code: 'print(1)', language: 'python', userId: alice.userId });
    assert.equal((await bob.wait('execution-result')).output, '1\n', 'the room is free');
  });

  it('input typed while it runs reaches the program', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const code = "name = input('name? ')\nprint('hello', name, flush=True)\nprint('bye', input())";
    alice.emit('execute-code', { roomId, code, language: 'python', userId: alice.userId, interactive: true });
    const { correlationId } = await alice.wait('execution-started');
    alice.emit('execution-input', { roomId, correlationId, data: 'wörld\n' });
    await alice.wait('execution-output', (part) => part.data.includes('hello wörld'));
    alice.emit('execution-input', { roomId, correlationId, data: 'again\n' });
    const result = await alice.wait('execution-result');
    assert.equal(result.exitCode, 0, JSON.stringify(result));
    assert.ok(result.stdout.endsWith('hello wörld\nbye again\n'), result.stdout);
  });

  it('who waits knows its place, and again when it changes', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const others = await Promise.all(['b', 'c', 'd'].map((name) => join(transport, roomId, name)));
    alice.emit('execute-code', { roomId, code: 'import time\ntime.sleep(1)', language: 'python', userId: alice.userId });
    await alice.wait('execution-started');
    for (const who of others) {
      who.emit('execute-code', { roomId, code: `print('${who.username}')`, language: 'python', userId: who.userId });
      await who.settled(roomId);
    }
    for (const who of others) {
      const result = await alice.wait('execution-result', (r) => r.userId === who.userId);
      assert.equal(result.output, `${who.username}\n`);
      const places = alice.all('execution-queued').filter((q) => q.correlationId === result.correlationId).map((q) => q.position);
      assert.ok(places.length > 0, `${who.username} was told its place`);
      assert.deepEqual(places, [...places].sort((a, b) => b - a), 'places only get better');
      assert.equal(places.at(-1), 0);
    }
    assert.ok(alice.all('execution-queued').some((q) => q.position === 2 && q.queueLength === 3), JSON.stringify(alice.all('execution-queued')));
    assertWithoutHoles(sequences(alice), alice.state.nextExpectedSequence);
  });

  it('what cannot start is refused to its sender alone, with error and code', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const bob = await join(transport, roomId, 'bob');
    for (const [bad, code] of [
      [{ language: 'cobol', code: 'x' }, 'UNSUPPORTED_LANGUAGE'],
      [{ language: 'python', code: 'x'.repeat(10_001) }, null],
      [{ language: 'python', code: '' }, null],
      [{ language: 'python' }, null],
      [{ language: 'python', code: 'x', stdin: 5 }, null],
    ]) {
      alice.emit('execute-code', { roomId, ...bad });
      const refused = await alice.wait('execution-result');
      assert.equal(refused.success, false);
      assert.ok(refused.error.length > 0 && refused.code.length > 0, JSON.stringify(refused));
      if (code) assert.equal(refused.code, code);
    }
    await behind(alice, bob, roomId);
    assert.equal(bob.all('execution-result').length + bob.all('execution-started').length, 0);
    assert.equal((await alice.settled(roomId)).sequence, alice.state.sequence, 'no number was used');
  });

  it('a limit that was hit is announced to the room', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const bob = await join(transport, roomId, 'bob');
    alice.emit('execute-code', { roomId, code: 'x = [bytearray(1 << 20) for _ in range(4096)]', language: 'python' });
    const result = await bob.wait('execution-result');
    assert.deepEqual([result.success, result.limit, result.status], [false, 'memory', 'failed']);
  });

  it('without a name it is the name from joining', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    alice.emit('execute-code', { roomId, code: 'print(1)', language: 'python' });
    const result = await alice.wait('execution-result');
    assert.deepEqual([result.userId, result.username], [alice.userId, 'alice']);
  });
});
