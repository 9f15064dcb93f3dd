// What is passed on without a number: chat, typing, cursors.
import { assert, behind, join, overBoth, unique } from '../lib.js';

overBoth('chat and cursors', (transport, it) => {
  it('chat goes to the others as plain text as it was typed', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const bob = await join(transport, roomId, 'bob');
    for (const message of ['hello', '<b>&amp; "quotes"</b> üñ🙂', '  blanks  ']) {
      alice.emit('send-chat', { roomId, username: 'alice', message });
      const chat = await bob.wait('receive-chat');
      assert.equal(chat.username, 'alice');
      assert.equal(chat.message, message, 'never HTML, never escaped');
      assert.ok(!Number.isNaN(Date.parse(chat.timestamp)));
    }
    alice.emit('send-chat', { roomId, username: 'alice', message: 'a\u0000b\u0007c\u001b[31m' });
    assert.equal((await bob.wait('receive-chat')).message, 'abc[31m', 'control characters are dropped');
    await behind(bob, alice, roomId);
    assert.equal(alice.all('receive-chat').length, 1, 'only what the others wrote');
  });

  it('a long message is bounded', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const bob = await join(transport, roomId, 'bob');
    alice.emit('send-chat', { roomId, username: 'alice', message: 'é'.repeat(1000) });
    assert.equal((await bob.wait('receive-chat')).message.length, 1000);
    alice.emit('send-chat', { roomId, username: 'alice', message: 'é'.repeat(1001) });
    await behind(alice, bob, roomId);
    assert.ok(bob.all('receive-chat').every((chat) => chat.message.length <= 1000));
  });

  it('typing is the one string', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const bob = await join(transport, roomId, 'bob');
    alice.emit('typing', { roomId, username: 'alice' });
    assert.equal(await bob.wait('show-typing'), 'alice is typing...');
    await behind(bob, alice, roomId);
    assert.equal(alice.all('show-typing').length, 0);
  });

  it('cursors move and are removed with their owner', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const bob = await join(transport, roomId, 'bob');
    const cursor = {
      username: 'alice', position: { lineNumber: 3, column: 7 },
      selection: { startLineNumber: 1, startColumn: 1, endLineNumber: 3, endColumn: 7 }, color: '#123456',
    };
    alice.emit('cursor-move', { roomId, ...cursor });
    assert.deepEqual(await bob.wait('cursor-update'), cursor);
    alice.close();
    assert.deepEqual(await bob.wait('cursor-remove'), { username: 'alice' });
  });
});
