// For the benchmark: an Article brought to many inboxes by Fedify's in-process queue.
// Usage: node sender.mjs FILE ISSUES; FILE lists the inboxes. Prints the seconds of each issue.
import { readFileSync } from "node:fs";
import {
  createFederation, generateCryptoKeyPair, InProcessMessageQueue, MemoryKvStore,
} from "@fedify/fedify";
import { Article, Create, Person, PUBLIC_COLLECTION } from "@fedify/vocab";

const inboxes = JSON.parse(readFileSync(process.argv[2], "utf8"));
const origin = "http://127.0.0.1:1";
const content = `<p>${"Le lin pousse en cent jours, sans eau et presque sans engrais. ".repeat(90)}</p>`;
const pairs = [await generateCryptoKeyPair("RSASSA-PKCS1-v1_5")];
let answered = 0;
const real = globalThis.fetch;
globalThis.fetch = async (...what) => {
  const response = await real(...what);
  answered += response.status === 202 ? 1 : 0;
  return response;
};
const federation = createFederation({
  kv: new MemoryKvStore(),
  queue: new InProcessMessageQueue(),
  origin,
  allowPrivateAddress: true,
  firstKnock: "draft-cavage-http-signatures-12",
});
federation
  .setActorDispatcher("/users/{identifier}", (ctx, identifier) => (
    new Person({ id: ctx.getActorUri(identifier), preferredUsername: identifier })
  ))
  .setKeyPairsDispatcher(() => pairs);
const ctx = federation.createContext(new URL(origin), undefined);
const recipients = inboxes.map((inbox) => (
  { id: new URL(inbox.replace("/inbox", "/users")), inboxId: new URL(inbox) }
));
const seconds = [];
for (let issue = 0; issue < Number(process.argv[3]); issue++) {
  const id = `${origin}/issues/${issue}`;
  const object = new Article({ id: new URL(id), content, to: PUBLIC_COLLECTION });
  const create = new Create({
    id: new URL(`${id}/activity`), actor: ctx.getActorUri("shop"), object, to: PUBLIC_COLLECTION,
  });
  const began = performance.now();
  answered = 0;
  await ctx.sendActivity({ identifier: "shop" }, recipients, create);
  while (answered < inboxes.length) await new Promise((done) => setTimeout(done, 5));
  seconds.push((performance.now() - began) / 1000);
}
console.log(JSON.stringify(seconds));
process.exit(0);
