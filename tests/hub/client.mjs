// What the Hub's own JavaScript client sees and does: node client.mjs ENDPOINT TOKEN OWNER/NAME
import { createHash } from "node:crypto";
import {
  createRepo, deleteFile, downloadFile, listFiles, modelInfo, uploadFiles, whoAmI,
} from "@huggingface/hub";

const [hubUrl, accessToken, name] = process.argv.slice(2);
const hub = { hubUrl, accessToken, repo: { type: "model", name } };
const list = async () => {
  const found = [];
  for await (const file of listFiles({ ...hub, recursive: true })) {
    if (file.type === "file") found.push([file.path, file.size]);
  }
  return found.sort();
};
const digest = (bytes) => createHash("sha256").update(Buffer.from(bytes)).digest("hex");

const me = await whoAmI(hub);
await createRepo({ ...hub, private: true });
const weights = new Uint8Array(3000).map((_, place) => place % 251);
await uploadFiles({
  ...hub,
  title: "from JavaScript",
  useXet: false,
  files: [
    { path: "config.json", content: new Blob(['{"layers": 2}']) },
    { path: "model.safetensors", content: new Blob([weights]) },
    { path: "gone.txt", content: new Blob(["gone"]) },
  ],
});
await deleteFile({ ...hub, path: "gone.txt" });
const info = await modelInfo({ ...hub, name, additionalFields: ["sha"] });
const fetched = await downloadFile({ ...hub, path: "model.safetensors", xet: false });
console.log(JSON.stringify({
  me: me.name,
  orgs: me.orgs.map((org) => org.name),
  private: info.private,
  sha: info.sha,
  files: await list(),
  weights: digest(await fetched.arrayBuffer()) === digest(weights),
}));
