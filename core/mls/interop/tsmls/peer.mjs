// ts-mls as a peer over JSON lines: one request a line on standard input, one answer a line on standard output. Bytes are base64.
// Request: {id, op, client, ...}; answer: {id, ...} or {id, error}. The first line, without id, says that the peer is ready.
import { register } from "node:module"
import readline from "node:readline"
import { join } from "node:path"
import { pathToFileURL } from "node:url"

register("./mends.mjs", import.meta.url)
const modules = process.argv[2]
const lib = (path) => import(pathToFileURL(join(modules, path)))
const mls = await lib("ts-mls/dist/src/index.js")
const [{ ratchetTreeEncoder, ratchetTreeDecoder }, { signLeafNodeCommit }, { groupContextExtensionDecoder, extensionEncoder }, { externalSenderEncoder }] = await Promise.all(
  ["ratchetTree.js", "leafNode.js", "extension.js", "externalSender.js"].map((f) => lib("ts-mls/dist/src/" + f)))
const { suite } = await import("./suites.mjs")
const draft = await import("./draft.mjs")

const b64 = (b) => (b === undefined ? undefined : Buffer.from(b).toString("base64"))
const bytes = (s) => new Uint8Array(Buffer.from(s ?? "", "base64"))
const same = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0
const appDataDictionary = 6, draftProposals = [8, 9, 10] // draft-ietf-mls-extensions: advertised, so that groups using them can be entered

const clients = new Map()
let next = 0

function parse(text) {
  const message = mls.decode(mls.mlsMessageDecoder, bytes(text))
  if (message === undefined) throw new Error("undecodable MLSMessage")
  return message
}
const wrap = (format, field, value) => b64(mls.encode(mls.mlsMessageEncoder, { version: mls.protocolVersions.mls10, wireformat: mls.wireformats[format], [field]: value }))

// Extensions pass through their wire form, since ts-mls holds the standard ones decoded. 0xf000 is any type ts-mls leaves alone.
function extension({ type, data }) {
  const wire = mls.encode(extensionEncoder, { extensionType: 0xf000, extensionData: bytes(data) })
  wire[0] = type >> 8
  wire[1] = type & 255
  return mls.decode(groupContextExtensionDecoder, wire)
}
function plainExtension(e) {
  const wire = mls.encode(extensionEncoder, e)
  const skip = wire[2] >> 6 === 0 ? 3 : wire[2] >> 6 === 1 ? 4 : 6
  return { type: e.extensionType, data: b64(wire.subarray(skip)) }
}

class Client {
  constructor(cs, identity) {
    this.cs = cs
    this.psks = {}
    this.packages = []
    this.updates = [] // private keys of our Update proposals of this epoch: ts-mls does not keep them
    this.credential = { credentialType: mls.defaultCredentialTypes.basic, identity: new TextEncoder().encode(identity) }
  }
  get context() {
    return { cipherSuite: this.cs, authService: mls.unsafeTestingAuthenticationService, externalPsks: this.psks }
  }
  // ts-mls pads every PrivateMessage to 256 bytes; handshakes here only where asked, since not every peer can read them padded.
  framed(pad) {
    const paddingConfig = pad ? { kind: "alwaysPad", paddingLength: 300 } : { kind: "alwaysPad", paddingLength: 0 }
    return { ...this.context, clientConfig: { keyRetentionConfig: mls.defaultKeyRetentionConfig, lifetimeConfig: mls.defaultLifetimeConfig,
      keyPackageEqualityConfig: mls.defaultKeyPackageEqualityConfig, paddingConfig } }
  }
  capabilities() {
    const c = mls.defaultCapabilities()
    return { ...c, ciphersuites: [...new Set([...c.ciphersuites, this.cs.id])], extensions: [...c.extensions, appDataDictionary], proposals: [...c.proposals, ...draftProposals] }
  }
  async newPackage() {
    this.keys ??= await this.cs.signature.keygen()
    const made = await mls.generateKeyPackageWithKey({ credential: this.credential, capabilities: this.capabilities(), signatureKeyPair: this.keys, extensions: [], cipherSuite: this.cs })
    this.packages.push(made)
    return made
  }
  view() {
    const s = this.state
    return { epoch: Number(s.groupContext.epoch), authenticator: b64(s.keySchedule.epochAuthenticator), treeHash: b64(s.groupContext.treeHash), leaf: s.privatePath.leafIndex,
      members: mls.getGroupMembers(s).length, extensions: s.groupContext.extensions.map(plainExtension) }
  }
  async updateLeaf() {
    const { ratchetTree, privatePath, groupContext, signaturePrivateKey } = this.state
    const leaf = ratchetTree[2 * privatePath.leafIndex].leaf
    const pair = await this.cs.hpke.generateKeyPair()
    const hpkePublicKey = await this.cs.hpke.exportPublicKey(pair.publicKey)
    const tbs = { leafNodeSource: mls.leafNodeSources.update, hpkePublicKey, signaturePublicKey: leaf.signaturePublicKey, credential: leaf.credential, capabilities: leaf.capabilities,
      extensions: leaf.extensions, groupId: groupContext.groupId, leafIndex: privatePath.leafIndex }
    this.updates.push({ hpkePublicKey, privateKey: await this.cs.hpke.exportPrivateKey(pair.privateKey) })
    return signLeafNodeCommit(tbs, signaturePrivateKey, this.cs.signature)
  }
  async proposal(p) {
    const types = mls.defaultProposalTypes
    const pskNonce = () => this.cs.rng.randomBytes(this.cs.kdf.size)
    switch (p.kind) {
      case "add": return { proposalType: types.add, add: { keyPackage: parse(p.keyPackage).keyPackage } }
      case "update": return { proposalType: types.update, update: { leafNode: await this.updateLeaf() } }
      case "remove": return { proposalType: types.remove, remove: { removed: p.leaf } }
      case "psk": return { proposalType: types.psk, psk: { preSharedKeyId: { psktype: mls.pskTypes.external, pskId: bytes(p.psk), pskNonce: pskNonce() } } }
      case "resumption": return { proposalType: types.psk, psk: { preSharedKeyId: { psktype: mls.pskTypes.resumption, usage: mls.resumptionPSKUsages.application,
        pskGroupId: this.state.groupContext.groupId, pskEpoch: BigInt(p.epoch), pskNonce: pskNonce() } } }
      case "extensions": return { proposalType: types.group_context_extensions, groupContextExtensions: { extensions: (p.extensions ?? []).map(extension) } }
      case "appDataUpdate": return { proposalType: draft.appDataUpdate, proposalData: draft.body.update(p.component, bytes(p.data)) }
      case "appDataRemove": return { proposalType: draft.appDataUpdate, proposalData: draft.body.remove(p.component) }
      case "appEphemeral": return { proposalType: draft.appEphemeral, proposalData: draft.body.ephemeral(p.component, bytes(p.data)) }
      case "selfRemove": return { proposalType: draft.selfRemove, proposalData: new Uint8Array() }
      default: throw new Error(`unknown proposal kind ${p.kind}`)
    }
  }
  entered(state) {
    this.state = state
    this.updates = []
  }
  // The callback runs when a commit's proposals are resolved and before its path is opened: the place to notice our own removal, and
  // to put the private key of our own Update where ts-mls will look for it.
  async process(message) {
    const path = this.state.privatePath
    const state = { ...this.state, privatePath: { ...path, privateKeys: { ...path.privateKeys } } }
    const seen = { content: "application", removed: false, sender: -1 }
    const callback = (incoming) => {
      seen.content = incoming.kind
      const sender = incoming.kind === "commit" ? incoming.senderLeafIndex : incoming.proposal.senderLeafIndex
      seen.sender = sender ?? -1
      if (incoming.kind !== "commit") return "accept"
      for (const { proposal, senderLeafIndex } of incoming.proposals) {
        if (proposal.proposalType === draft.selfRemove && senderLeafIndex === path.leafIndex) seen.removed = true
        if (proposal.proposalType === mls.defaultProposalTypes.remove && proposal.remove.removed === path.leafIndex) seen.removed = true
        const own = proposal.update && this.updates.find((u) => same(u.hpkePublicKey, proposal.update.leafNode.hpkePublicKey))
        if (own) state.privatePath.privateKeys[2 * path.leafIndex] = own.privateKey
      }
      return seen.removed ? "reject" : "accept"
    }
    const { context } = this
    const result = message.wireformat === mls.wireformats.mls_public_message
      ? { kind: "newState", ...(await mls.processPublicMessage({ context, state, publicMessage: message.publicMessage, callback })) }
      : await mls.processPrivateMessage({ context, state, privateMessage: message.privateMessage, callback })
    if (seen.content === "commit") { if (!seen.removed) this.entered(result.newState) } else this.state = result.newState
    if (result.kind === "applicationMessage") return { content: "application", plaintext: b64(result.message), aad: b64(result.aad), sender: result.sender.leafIndex, removed: false }
    return { ...seen, aad: b64(result.aad) }
  }
}

const ops = {
  async client(_, q) {
    const client = new Client(await suite(lib, mls, q.suite, q.name), q.identity)
    clients.set(++next, client)
    return { client: next }
  },
  async close(_, q) { clients.delete(q.client); return {} },
  async keyPackage(c) { return { message: wrap("mls_key_package", "keyPackage", (await c.newPackage()).publicPackage) } },
  async addPSK(c, q) { c.psks[mls.bytesToBase64(bytes(q.psk))] = bytes(q.secret); return {} },
  async create(c, q) {
    const { publicPackage, privatePackage } = await c.newPackage()
    c.entered(await mls.createGroup({ context: c.context, groupId: bytes(q.group), keyPackage: publicPackage, privateKeyPackage: privatePackage, extensions: (q.extensions ?? []).map(extension) }))
    return {}
  },
  async join(c, q) {
    const { welcome } = parse(q.welcome)
    const refs = await Promise.all(c.packages.map((p) => mls.makeKeyPackageRef(p.publicPackage, c.cs.hash)))
    const at = refs.findIndex((ref) => welcome.secrets.some((s) => same(s.newMember, ref)))
    if (at < 0) throw new Error("the Welcome is for none of our key packages")
    const { publicPackage, privatePackage } = c.packages[at]
    const ratchetTree = q.tree ? mls.decode(ratchetTreeDecoder, bytes(q.tree)) : undefined
    c.entered(await mls.joinGroup({ context: c.context, welcome, keyPackage: publicPackage, privateKeys: privatePackage, ratchetTree }))
    return {}
  },
  async joinExternal(c, q) {
    const extraProposals = []
    for (const p of q.proposals ?? []) extraProposals.push(await c.proposal(p))
    const selfRemoves = (q.pending ?? []).map((m) => parse(m)).map((m) => ({ wireformat: m.wireformat, content: m.publicMessage.content, auth: m.publicMessage.auth }))
    const { publicPackage, privatePackage } = await c.newPackage()
    const tree = q.tree ? mls.decode(ratchetTreeDecoder, bytes(q.tree)) : undefined
    const r = await mls.joinGroupExternal({ context: c.context, groupInfo: parse(q.info).groupInfo, keyPackage: publicPackage, privateKeys: privatePackage, resync: q.resync, tree, authenticatedData: bytes(q.aad), extraProposals, selfRemoves })
    c.entered(r.newState)
    return { commit: wrap("mls_public_message", "publicMessage", r.publicMessage) }
  },
  async commit(c, q) {
    const own = c.state.privatePath.leafIndex
    const pending = Object.entries(c.state.unappliedProposals).filter(([, p]) => !(p.proposal.proposalType === mls.defaultProposalTypes.update && p.senderLeafIndex === own))
    const state = { ...c.state, unappliedProposals: Object.fromEntries(pending) }
    const extraProposals = []
    for (const p of q.proposals ?? []) extraProposals.push(await c.proposal(p))
    const r = await mls.createCommit({ context: c.framed(q.pad), state, extraProposals, wireAsPublicMessage: !q.private, ratchetTreeExtension: !q.omitTree, authenticatedData: bytes(q.aad), resumingFromState: state })
    c.entered(r.newState)
    return { commit: b64(mls.encode(mls.mlsMessageEncoder, r.commit)), welcome: r.welcome && b64(mls.encode(mls.mlsMessageEncoder, r.welcome)) }
  },
  async propose(c, q) {
    const r = await mls.createProposal({ context: c.framed(q.pad), state: c.state, wireAsPublicMessage: !q.private, proposal: await c.proposal(q.proposal), authenticatedData: bytes(q.aad) })
    c.state = r.newState
    return { message: b64(mls.encode(mls.mlsMessageEncoder, r.message)) }
  },
  async protect(c, q) {
    const r = await mls.createApplicationMessage({ context: c.context, state: c.state, message: bytes(q.plaintext), authenticatedData: bytes(q.aad) })
    c.state = r.newState
    return { message: b64(mls.encode(mls.mlsMessageEncoder, r.message)) }
  },
  async process(c, q) { return c.process(parse(q.message)) },
  async state(c) { return c.view() },
  async export(c, q) { return { secret: b64(await mls.mlsExporter(c.state.keySchedule.exporterSecret, q.label, bytes(q.context), q.length, c.cs)) } },
  async groupInfo(c, q) {
    const make = q.embedTree ? mls.createGroupInfoWithExternalPubAndRatchetTree : mls.createGroupInfoWithExternalPub
    return { message: wrap("mls_group_info", "groupInfo", await make(c.state, [], c.cs)), tree: b64(mls.encode(ratchetTreeEncoder, c.state.ratchetTree)) }
  },
  async externalSender(c) {
    c.keys ??= await c.cs.signature.keygen()
    return { message: b64(mls.encode(externalSenderEncoder, { signaturePublicKey: c.keys.publicKey, credential: c.credential })) }
  },
  async proposeExternal(c, q) {
    const made = await mls.proposeExternal(parse(q.info).groupInfo, await c.proposal(q.proposal), c.keys.publicKey, c.keys.signKey, c.cs, bytes(q.aad))
    return { message: b64(mls.encode(mls.mlsMessageEncoder, made)) }
  },
  async proposeJoin(c, q) {
    const { publicPackage, privatePackage } = await c.newPackage()
    return { message: b64(mls.encode(mls.mlsMessageEncoder, await mls.proposeAddExternal(parse(q.info).groupInfo, publicPackage, privatePackage, c.cs, bytes(q.aad)))) }
  },
  // For the proof that the X-Wing shim equals crypto/hpke: derive a key pair, and seal to a public key.
  async hpke(_, q) {
    const { hpke } = await suite(lib, mls, q.suite, q.name)
    const pair = await hpke.deriveKeyPair(bytes(q.ikm))
    const to = await hpke.seal(await hpke.importPublicKey(bytes(q.to)), bytes(q.plaintext), bytes(q.info), new Uint8Array())
    return { private: b64(await hpke.exportPrivateKey(pair.privateKey)), public: b64(await hpke.exportPublicKey(pair.publicKey)), enc: b64(to.enc), ciphertext: b64(to.ct) }
  },
}

const answer = (a) => process.stdout.write(JSON.stringify(a) + "\n")
answer({ ready: true, node: process.version })
for await (const line of readline.createInterface({ input: process.stdin })) {
  let q = {}
  try {
    q = JSON.parse(line)
    const op = ops[q.op]
    if (op === undefined) throw new Error(`unknown op ${q.op}`)
    const client = clients.get(q.client)
    if (client === undefined && !["client", "close", "hpke"].includes(q.op)) throw new Error(`unknown client ${q.client}`)
    answer({ id: q.id, ...(await op(client, q)) })
  } catch (e) {
    answer({ id: q.id, error: `${e?.name ?? "Error"}: ${e?.message ?? e}`.slice(0, 500), where: String(e?.stack ?? "").split("\n").slice(1, 4).join(" ").slice(0, 600) })
  }
}
