// A real fediverse server that we did not write, for the tests: Fedify, with one actor and a control
// port. Usage: node peer.mjs PORT CONTROL_PORT; FIRST_KNOCK=cavage|rfc9421. Ends when stdin closes.
import { createServer } from "node:http";
import { Temporal } from "@js-temporal/polyfill";
import { createFederation, generateCryptoKeyPair, MemoryKvStore } from "@fedify/fedify";
import {
  Activity, Announce, Create, Delete, Endpoints, Follow, isActor, Like, Note, Person,
  PUBLIC_COLLECTION, Tombstone, Undo, Update,
} from "@fedify/vocab";

const [port, control] = process.argv.slice(2).map(Number);
const origin = `http://127.0.0.1:${port}`;
const knock = { cavage: "draft-cavage-http-signatures-12", rfc9421: "rfc9421" };
const received = [];
const notes = new Map();
let keys;

const federation = createFederation({
  kv: new MemoryKvStore(),
  origin,
  allowPrivateAddress: true,
  firstKnock: knock[process.env.FIRST_KNOCK ?? "cavage"],
});

federation
  .setActorDispatcher("/users/{identifier}", async (ctx, identifier) => {
    if (identifier !== "reader") return null;
    const pairs = await ctx.getActorKeyPairs(identifier);
    return new Person({
      id: ctx.getActorUri(identifier),
      preferredUsername: identifier,
      name: "A reader on Fedify",
      inbox: ctx.getInboxUri(identifier),
      endpoints: new Endpoints({ sharedInbox: ctx.getInboxUri() }),
      publicKey: pairs[0].cryptographicKey,
      assertionMethods: pairs.map((pair) => pair.multikey),
    });
  })
  .setKeyPairsDispatcher(async () => {
    keys ??= [
      await generateCryptoKeyPair("RSASSA-PKCS1-v1_5"),
      await generateCryptoKeyPair("Ed25519"),
    ];
    return keys;
  });

federation.setObjectDispatcher(Note, "/notes/{id}", (_ctx, values) => notes.get(values.id) ?? null);

// Listeners run only for activities whose signature Fedify has verified.
federation
  .setInboxListeners("/users/{identifier}/inbox", "/inbox")
  .on(Activity, async (_ctx, activity) => {
    received.push({
      type: activity.constructor.name,
      document: await activity.toJsonLd({ format: "compact" }),
    });
  });

async function serve(request, response) {
  const body = await read(request);
  const answer = await federation.fetch(
    new Request(`${origin}${request.url}`, {
      method: request.method,
      headers: request.headers,
      body: body.length ? body : undefined,
    }),
    { contextData: undefined },
  );
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  response.end(Buffer.from(await answer.arrayBuffer()));
}

async function read(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts);
}

const ctx = federation.createContext(new URL(origin), undefined);
const me = { identifier: "reader" };
const myself = ctx.getActorUri("reader");
let count = 0;
const fresh = (kind) => new URL(`${origin}/acts/${kind}/${++count}`);

async function find(target) {
  const loader = await ctx.getDocumentLoader(me);
  const found = await ctx.lookupObject(target, { documentLoader: loader });
  if (found === null) throw new Error(`cannot find ${target}`);
  return found;
}

async function authorOf(object) {
  const loader = await ctx.getDocumentLoader(me);
  const found = await object.getAttribution({ documentLoader: loader });
  if (!isActor(found)) throw new Error("no author");
  return found;
}

function noteOf(id, content, author, target, updated) {
  const note = new Note({
    id: ctx.getObjectUri(Note, { id }),
    attribution: myself,
    replyTarget: new URL(target),
    content: `<p>${content}</p>`,
    published: Temporal.Now.instant(),
    updated,
    to: PUBLIC_COLLECTION,
    cc: author.id,
  });
  notes.set(id, note);
  return note;
}

const actions = {
  async lookup({ target }) {
    const found = await find(target);
    return { id: found.id.href, type: found.constructor.name, document: await found.toJsonLd() };
  },
  async follow({ target }) {
    const actor = await find(target);
    const follow = new Follow({ id: fresh("follow"), actor: myself, object: actor.id });
    await ctx.sendActivity(me, actor, follow);
    return { follow: follow.id.href };
  },
  async unfollow({ target, follow }) {
    const actor = await find(target);
    const object = new Follow({ id: new URL(follow), actor: myself, object: actor.id });
    await ctx.sendActivity(me, actor, new Undo({ id: fresh("undo"), actor: myself, object }));
    return {};
  },
  async like({ object }) {
    const found = await find(object);
    const like = new Like({ id: fresh("like"), actor: myself, object: found.id });
    await ctx.sendActivity(me, await authorOf(found), like);
    return { like: like.id.href };
  },
  async boost({ object }) {
    const found = await find(object);
    const boost = new Announce({
      id: fresh("boost"), actor: myself, object: found.id, to: PUBLIC_COLLECTION,
    });
    await ctx.sendActivity(me, await authorOf(found), boost);
    return {};
  },
  async reply({ object, content }) {
    const author = await authorOf(await find(object));
    const id = String(++count);
    const note = noteOf(id, content, author, object);
    await ctx.sendActivity(me, author, new Create({
      id: fresh("create"), actor: myself, object: note, to: PUBLIC_COLLECTION, cc: author.id,
    }));
    return { id, object: note.id.href };
  },
  async editReply({ id, object, content }) {
    const author = await authorOf(await find(object));
    const note = noteOf(id, content, author, object, Temporal.Now.instant().add({ seconds: 1 }));
    await ctx.sendActivity(me, author, new Update({
      id: fresh("update"), actor: myself, object: note, to: PUBLIC_COLLECTION,
    }));
    return {};
  },
  async deleteReply({ id, object }) {
    const author = await authorOf(await find(object));
    await ctx.sendActivity(me, author, new Delete({
      id: fresh("delete"), actor: myself, object: new Tombstone({ id: notes.get(id).id }),
      to: PUBLIC_COLLECTION,
    }));
    notes.delete(id);
    return {};
  },
  async received() {
    return { received };
  },
};

async function command(request, response) {
  let status = 200;
  let answer;
  try {
    const body = await read(request);
    answer = await actions[request.url.slice(1)](JSON.parse(body.length ? body : "{}"));
  } catch (wrong) {
    status = 500;
    answer = { error: String(wrong?.stack ?? wrong) };
  }
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(answer));
}

createServer(serve).listen(port, "127.0.0.1", () => {
  createServer(command).listen(control, "127.0.0.1", () => console.log("ready"));
});
process.stdin.resume().on("end", () => process.exit(0));
