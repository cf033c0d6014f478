// The proposals of draft-ietf-mls-extensions-10 for ts-mls, which knows custom proposals only as opaque<V> and does not apply them.
// Called from places that mends.mjs patches in. A component's update replaces its data: that is the whole application logic here.
export const appDataUpdate = 8, appEphemeral = 9, selfRemove = 10
export const isDraft = (type) => type >= appDataUpdate && type <= selfRemove

const dictionaryType = 6
const update = 1, remove = 2

// varint reads a variable-length integer (RFC 9420 §2.1.2): [value, bytes it takes].
function varint(b, at) {
  const bytes = 1 << (b[at] >> 6)
  let value = b[at] & 63
  for (let i = 1; i < bytes; i++) value = value * 256 + b[at + i]
  return [value, bytes]
}
export function vector(data) {
  const n = data.length
  const head = n < 64 ? [n] : n < 16384 ? [64 | (n >> 8), n & 255] : [128 | (n >> 24), (n >> 16) & 255, (n >> 8) & 255, n & 255]
  return new Uint8Array([...head, ...data])
}
const u16 = (n) => [n >> 8, n & 255]

// encoder writes a draft proposal: its type and its body, without a length around it.
export const encoder = ({ proposalType, proposalData }) => [2 + proposalData.length, (offset, buffer) => new Uint8Array(buffer).set([...u16(proposalType), ...proposalData], offset)]

// bodyLength returns how many bytes the body of a draft proposal takes, or undefined where it is malformed.
function bodyLength(type, b, at) {
  if (type === selfRemove) return 0
  const head = type === appEphemeral || b[at + 2] === update ? (type === appEphemeral ? 2 : 3) : undefined
  if (head === undefined) return b[at + 2] === remove ? 3 : undefined
  const [length, bytes] = varint(b, at + head)
  return at + head + bytes + length <= b.length ? head + bytes + length : undefined
}
export const decoder = (proposalType) => (b, at) => {
  const length = bodyLength(proposalType, b, at)
  return length === undefined ? undefined : [{ proposalType, proposalData: b.slice(at, at + length) }, length]
}

export const body = {
  update: (component, data) => new Uint8Array([...u16(component), update, ...vector(data)]),
  remove: (component) => new Uint8Array([...u16(component), remove]),
  ephemeral: (component, data) => new Uint8Array([...u16(component), ...vector(data)]),
}

function readDictionary(data) {
  const entries = new Map()
  const [length, bytes] = varint(data, 0)
  if (bytes + length !== data.length) throw new Error("app_data_dictionary: length")
  for (let at = bytes; at < data.length; ) {
    const [n, head] = varint(data, at + 2)
    entries.set(data[at] * 256 + data[at + 1], data.slice(at + 2 + head, at + 2 + head + n))
    at += 2 + head + n
  }
  return entries
}

// applyAppData returns the GroupContext extensions after the AppDataUpdates among proposals (§4.7): at most one remove a component, or
// updates; the dictionary is appended where there was none, its ids are kept sorted.
export function applyAppData(extensions, proposals) {
  const updates = proposals.filter((p) => p.proposal.proposalType === appDataUpdate).map((p) => p.proposal.proposalData)
  if (updates.length === 0) return extensions
  const old = extensions.find((e) => e.extensionType === dictionaryType)
  const entries = old ? readDictionary(old.extensionData) : new Map()
  const touched = new Map()
  for (const u of updates) {
    const component = u[0] * 256 + u[1], op = u[2]
    if (touched.has(component) && (op === remove || touched.get(component) === remove)) throw new Error("AppDataUpdate: remove beside another")
    touched.set(component, op)
    if (op === remove && !entries.delete(component)) throw new Error("AppDataUpdate: removes what is not there")
    if (op === update) entries.set(component, u.slice(3 + varint(u, 3)[1]))
  }
  const sorted = [...entries].sort(([a], [b]) => a - b).flatMap(([id, data]) => [...u16(id), ...vector(data)])
  const dictionary = { extensionType: dictionaryType, extensionData: vector(sorted) }
  return old ? extensions.map((e) => (e === old ? dictionary : e)) : [...extensions, dictionary]
}

// selfRemoves returns the SelfRemoves among proposals as the Removes they amount to. byValue tells which came by value: none may.
export function selfRemoves(proposals, byValue) {
  return proposals.flatMap(({ proposal, senderLeafIndex }, i) => {
    if (proposal.proposalType !== selfRemove) return []
    if (byValue(i) || senderLeafIndex === undefined) throw new Error("SelfRemove: only by reference, from a member")
    return [{ proposal: { proposalType: 3, remove: { removed: senderLeafIndex } }, senderLeafIndex }]
  })
}
