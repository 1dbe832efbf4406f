// The official Node SDK drives every method of the Videos API against a running Kinora.
//
// Usage: KINORA_URL=http://127.0.0.1:8000 KINORA_KEY=kn-... node openai_node.mjs   (with `openai` in node_modules)
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { createRequire } from 'node:module';

// The SDK of the folder that the test is run in.
const require = createRequire(path.join(process.cwd(), 'package.json'));
const { default: OpenAI, toFile } = require('openai');
const { version } = JSON.parse(fs.readFileSync(path.join(process.cwd(), 'node_modules/openai/package.json')));

const url = process.env.KINORA_URL;
const apiKey = process.env.KINORA_KEY;
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey });
// Small and few steps: what is tested is the interface.
const small = { num_inference_steps: 2, seed: 7 };
const clip = { size: '128x128', seconds: '1' };

async function finished(video) {
    while (!['completed', 'failed'].includes(video.status)) {
        await new Promise((resolve) => setTimeout(resolve, 200));
        video = await client.videos.retrieve(video.id);
    }
    assert.equal(video.status, 'completed', JSON.stringify(video));
    assert.equal(video.progress, 100);
    return video;
}

const bytesOf = async (id, query) => Buffer.from(await (await client.videos.downloadContent(id, query)).arrayBuffer());

async function derive(video) {
    const remix = await finished(await client.videos.remix(video.id, { prompt: 'a blue ball', ...small }));
    assert.equal(remix.remixed_from_video_id, video.id);
    if (client.videos.edit === undefined) {
        await finished(await client.post('/videos/edits', { body: { prompt: 'a green ball', video: { id: video.id }, ...small } }));
        const longer = await client.post('/videos/extensions', {
            body: { prompt: 'it goes on', seconds: '1', video: { id: video.id }, ...small },
        });
        assert.equal(Number((await finished(longer)).seconds), 2);
        return;
    }
    // Multipart with a part named `video[id]`.
    await finished(await client.videos.edit({ prompt: 'a green ball', video: { id: video.id }, ...small }));
    const longer = await client.videos.extend({ prompt: 'it goes on', seconds: '1', video: { id: video.id }, ...small });
    assert.equal(Number((await finished(longer)).seconds), 2);

    // A stream: chunked, without Content-Length, as application/octet-stream.
    const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'kinora-')), 'clip.mp4');
    fs.writeFileSync(file, await bytesOf(video.id));
    await finished(await client.videos.edit({
        prompt: 'a green ball', video: fs.createReadStream(file), model: 'sora-2', ...small,
    }));
    const character = await client.videos.createCharacter({ name: 'Mossy', video: fs.createReadStream(file) });
    assert.equal((await client.videos.getCharacter(character.id)).name, 'Mossy');
    await finished(await client.videos.create({
        prompt: 'Mossy rolls over sand', characters: [{ id: character.id }], ...clip, ...small,
    }));
}

async function webhooks() {
    if (client.webhooks?.unwrap === undefined) return console.log('  skipped: this version has no webhooks');
    const received = new Promise((resolve) => {
        const server = http.createServer((request, response) => {
            let body = '';
            request.on('data', (piece) => (body += piece));
            request.on('end', () => {
                response.writeHead(204).end();
                server.close();
                resolve({ headers: request.headers, body });
            });
        });
        server.listen(0, '127.0.0.1', async () => {
            const endpoint = await client.post('/webhook_endpoints', { body: {
                name: 'test', url: `http://127.0.0.1:${server.address().port}/hook`, event_types: ['video.completed'],
            } });
            server.endpoint = endpoint;
            server.video = await client.videos.create({ prompt: 'a red ball', ...clip, ...small });
            webhooks.server = server;
        });
    });
    const { headers, body } = await received;
    const { endpoint, video } = webhooks.server;
    const event = await client.webhooks.unwrap(body, headers, endpoint.signing_secret);
    assert.equal(event.type, 'video.completed');
    assert.equal(event.data.id, video.id);
    await client.delete(`/webhook_endpoints/${endpoint.id}`);
}

console.log(`openai ${version} (Node)`);
let video = await client.videos.create({ prompt: 'a red ball rolls over grass', model: 'sora-2', ...clip, ...small });
assert.equal(video.object, 'video');
video = await finished(video);
assert.equal(video.size, '128x128');
assert.equal(video.seconds, '1');

console.log('  content');
assert.ok((await bytesOf(video.id)).subarray(0, 16).includes('ftyp'));
assert.ok((await bytesOf(video.id, { variant: 'thumbnail' })).subarray(0, 16).includes('WEBP'));
assert.equal((await bytesOf(video.id, { variant: 'spritesheet' })).readUInt16BE(0), 0xffd8);

console.log('  reference');
const poster = await toFile(await bytesOf(video.id, { variant: 'thumbnail' }), 'poster.webp', { type: 'image/webp' });
await finished(await client.videos.create({ prompt: 'a red ball', input_reference: poster, ...clip, ...small }));

console.log('  derive');
await derive(video);

console.log('  paging');
const ids = [];
for await (const entry of client.videos.list({ limit: 2 })) ids.push(entry.id);
assert.ok(ids.includes(video.id) && ids.length >= 4 && new Set(ids).size === ids.length);

console.log('  errors');
await assert.rejects(client.videos.create({ prompt: 'x', seconds: '0' }), (error) => error.status === 400 && error.param === 'seconds');
await assert.rejects(client.videos.retrieve('video_' + '0'.repeat(48)), (error) => error.status === 404 && Boolean(error.requestID));

console.log('  webhooks');
await webhooks();

console.log('  delete');
assert.deepEqual({ ...(await client.videos.delete(video.id)) }, { id: video.id, object: 'video.deleted', deleted: true });
await assert.rejects(client.videos.retrieve(video.id), (error) => error.status === 404);
