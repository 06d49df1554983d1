// A real fediverse server that we did not write, for the tests: Fedify, with one actor and a control
// port. Usage: node peer.mjs PORT CONTROL_PORT; FIRST_KNOCK=cavage|rfc9421. Ends when stdin closes.
// ONLY=cavage|rfc9421: what is signed by the other scheme is 401, as at servers that know one alone.
// Authorized fetch is on: the reader's documents go to signed requests only.
import { createServer } from "node:http";
import { Temporal } from "@js-temporal/polyfill";
import {
  createFederation, generateCryptoKeyPair, MemoryKvStore, parseNodeInfo, signRequest, verifyObject,
} from "@fedify/fedify";
import {
  Activity, Announce, Block, Create, Delete, EmojiReact, Endpoints, Flag, Follow, isActor, Like,
  Move, Note, Person, PUBLIC_COLLECTION, QuoteRequest, Tombstone, Undo, Update,
} from "@fedify/vocab";

const [port, control] = process.argv.slice(2).map(Number);
const origin = `http://127.0.0.1:${port}`;
const knock = { cavage: "draft-cavage-http-signatures-12", rfc9421: "rfc9421" };
const received = [];
const raw = [];
const knocks = [];
const notes = new Map();
const sent = new Map();
const keys = new Map();
const people = ["reader", "courier"];

const federation = createFederation({
  kv: new MemoryKvStore(),
  origin,
  allowPrivateAddress: true,
  firstKnock: knock[process.env.FIRST_KNOCK ?? "cavage"],
});

federation
  .setActorDispatcher("/users/{identifier}", async (ctx, identifier) => {
    if (!people.includes(identifier)) return null;
    const pairs = await ctx.getActorKeyPairs(identifier);
    return new Person({
      id: ctx.getActorUri(identifier),
      preferredUsername: identifier,
      aliases: identifier === "courier" ? [ctx.getActorUri("reader")] : [],
      name: "A reader on Fedify",
      inbox: ctx.getInboxUri(identifier),
      endpoints: new Endpoints({ sharedInbox: ctx.getInboxUri() }),
      publicKey: pairs[0].cryptographicKey,
      assertionMethods: pairs.map((pair) => pair.multikey),
    });
  })
  .setKeyPairsDispatcher(async (_ctx, identifier) => {
    if (!keys.has(identifier)) {
      keys.set(identifier, [
        await generateCryptoKeyPair("RSASSA-PKCS1-v1_5"),
        await generateCryptoKeyPair("Ed25519"),
      ]);
    }
    return keys.get(identifier);
  })
  .authorize(signed);

federation
  .setObjectDispatcher(Note, "/notes/{id}", (_ctx, values) => notes.get(values.id) ?? null)
  .authorize(signed);

async function signed(ctx) {
  return (await ctx.getSignedKey()) !== null;
}

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
  const scheme = request.headers["signature-input"] ? "rfc9421" : "cavage";
  if (request.headers.signature) knocks.push({ method: request.method, scheme });
  const only = process.env.ONLY ?? scheme;
  if (request.headers.signature && scheme !== only) return response.writeHead(401).end();
  if (request.method === "POST") raw.push(body.toString());
  if (request.url === "/courier") return response.writeHead(202).end();
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

// About an object of theirs: told to its author, remembered so that it can be undone.
async function tell(kind, Class, object, values = {}) {
  const found = await find(object);
  const activity = new Class({ id: fresh(kind), actor: myself, object: found.id, ...values });
  sent.set(activity.id.href, { activity, author: await authorOf(found) });
  await ctx.sendActivity(me, sent.get(activity.id.href).author, activity);
  return { id: activity.id.href };
}

async function aboutActor(kind, Class, target, values) {
  const actor = await find(target);
  const activity = new Class({ id: fresh(kind), actor: myself, ...values(actor) });
  await ctx.sendActivity(me, actor, activity);
  return { id: activity.id.href };
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
  like: ({ object }) => tell("like", Like, object),
  react: ({ object }) => tell("react", EmojiReact, object, { content: "🎉" }),
  boost: ({ object }) => tell("boost", Announce, object, { to: PUBLIC_COLLECTION }),
  async undo({ id }) {
    const { activity, author } = sent.get(id);
    const undo = new Undo({ id: fresh("undo"), actor: myself, object: activity });
    await ctx.sendActivity(me, author, undo);
    return {};
  },
  async quote({ object }) {
    const id = String(++count);
    notes.set(id, new Note({
      id: ctx.getObjectUri(Note, { id }), attribution: myself, content: "<p>Lisez</p>",
      to: PUBLIC_COLLECTION, quoteUrl: new URL(object),
    }));
    return tell("quote", QuoteRequest, object, { instrument: notes.get(id).id });
  },
  async vote({ object, name }) {
    const author = await authorOf(await find(object));
    const note = new Note({
      id: fresh("vote"), attribution: myself, name, replyTarget: new URL(object), to: author.id,
    });
    await ctx.sendActivity(me, author, new Create({
      id: fresh("create"), actor: myself, object: note, to: author.id,
    }));
    return {};
  },
  block: ({ target }) => aboutActor("block", Block, target, (actor) => ({ object: actor.id })),
  flag: ({ target, object, content }) => aboutActor("flag", Flag, target, (actor) => (
    { objects: [actor.id, new URL(object)], content }
  )),
  move: ({ target }) => aboutActor("move", Move, target, () => (
    { object: myself, target: ctx.getActorUri("courier") }
  )),
  // What the reader sent to the courier, with its proof, handed on and signed by the courier.
  async carried({ object, content, forged }) {
    const author = await authorOf(await find(object));
    const note = noteOf(String(++count), content, author, object);
    const create = new Create({
      id: fresh("create"), actor: myself, object: note, to: PUBLIC_COLLECTION, cc: author.id,
    });
    const at = raw.length;
    const inboxId = new URL(`${origin}/courier`);
    await ctx.sendActivity(me, { id: ctx.getActorUri("courier"), inboxId }, create);
    const body = raw[at];
    const courier = (await ctx.getActorKeyPairs("courier"))[0];
    const request = new Request(author.inboxId, {
      method: "POST",
      headers: { "Content-Type": "application/activity+json" },
      body: forged ? body.replace(content, "autre chose") : body,
    });
    const spec = knock[process.env.FIRST_KNOCK ?? "cavage"];
    const answer = await fetch(await signRequest(request, courier.privateKey, courier.keyId, {
      spec,
    }));
    return { status: answer.status, id: note.id.href };
  },
  async nodeinfo({ origin }) {
    // Fedify's own look-up refuses private addresses whatever it is told; its strict reader is used.
    const listed = await (await fetch(`${origin}/.well-known/nodeinfo`)).json();
    const versions = listed.links.filter((link) => link.rel.includes("nodeinfo.diaspora.software"));
    const found = await Promise.all(versions.map(async (link) => {
      return parseNodeInfo(await (await fetch(link.href)).json());
    }));
    return { found: found.map((one) => [one.software.name, one.protocols]) };
  },
  // Whether Fedify finds a proof by its own actor in what came; null if the activity never came.
  async proven({ id }) {
    const document = raw.map((one) => JSON.parse(one)).find((one) => one.id === id);
    if (document === undefined) return { proven: null };
    const loaders = { documentLoader: ctx.documentLoader, contextLoader: ctx.contextLoader };
    const changed = { ...document, published: "2020-01-01T00:00:00Z" };
    return {
      proven: document.proof !== undefined
        && (await verifyObject(Activity, document, loaders)) !== null,
      changed: (await verifyObject(Activity, changed, loaders)) !== null,
    };
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
  async knocks() {
    return { knocks };
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
