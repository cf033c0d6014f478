// Cipher suites for ts-mls: its own, mended where needed, and the X-Wing suites of draft-ietf-mls-pq-ciphersuites.

const cat = (...parts) => new Uint8Array(Buffer.concat(parts.map((p) => Buffer.from(p))))
const u16 = (n) => new Uint8Array([n >> 8, n & 255])

// X-Wing as crypto/hpke and draft-ietf-hpke-pq have it: encapsulation equals @hpke/hybridkem-x-wing's, but DeriveKeyPair is the
// one-stage SHAKE256 LabeledDerive, where the package still follows the older rule.
async function xwing(lib) {
  const { XWing } = await lib("@hpke/hybridkem-x-wing/esm/mod.js")
  const { shake256 } = await lib("@noble/hashes/sha3.js")
  return new (class extends XWing {
    async deriveKeyPair(ikm) {
      await this._setup()
      const label = "DeriveKeyPair"
      return this.generateKeyPairDerand(shake256(cat(new Uint8Array(ikm), "HPKE-v1", "KEM", u16(0x647a), u16(label.length), label, u16(32)), { dkLen: 32 }))
    }
  })()
}

const postQuantum = {
  MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519: { hash: "SHA-256", kdf: "HKDF-SHA256", aead: "AES128GCM" },
  MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519: { hash: "SHA-384", kdf: "HKDF-SHA384", aead: "AES256GCM" },
}

async function makePostQuantum(lib, code, parts) {
  const dir = "ts-mls/dist/src/crypto/implementation/"
  const [{ CipherSuite }, { makeKdf, makeKdfImpl }, { makeHashImpl }, { makeAead }, { makeGenericHpke }, { makeNobleSignatureImpl }, { defaultRng }] = await Promise.all(
    ["@hpke/core/esm/mod.js", dir + "default/makeKdfImpl.js", dir + "default/makeHashImpl.js", dir + "default/makeAead.js", dir + "hpke.js", dir + "default/makeNobleSignatureImpl.js", dir + "default/rng.js"].map(lib))
  const [aead, hpkeAead] = await makeAead(parts.aead)
  const hpke = new CipherSuite({ kem: await xwing(lib), kdf: makeKdf(parts.kdf), aead: hpkeAead })
  return { id: code, kdf: makeKdfImpl(makeKdf(parts.kdf)), hash: makeHashImpl(crypto.subtle, parts.hash), signature: await makeNobleSignatureImpl("Ed25519"),
    hpke: await makeGenericHpke({ kem: "X-Wing", kdf: parts.kdf, aead: parts.aead }, aead, hpke), rng: defaultRng }
}

// RFC 9420 §5.1.1: an ECDSA public key is an uncompressed point; ts-mls generates compressed ones, which others refuse.
async function uncompressed(lib, impl, name) {
  const curves = await lib("@noble/curves/nist.js")
  const curve = { P256: curves.p256, P384: curves.p384, P521: curves.p521 }[name.slice(name.lastIndexOf("_") + 1)]
  if (curve === undefined) return impl
  const keygen = async () => { const signKey = curve.utils.randomSecretKey(); return { signKey, publicKey: curve.getPublicKey(signKey, false) } }
  return { ...impl, signature: { ...impl.signature, keygen } }
}

const made = new Map()

// suite returns the CiphersuiteImpl for a name, under a code point.
export function suite(lib, mls, code, name) {
  const key = `${code} ${name}`
  if (!made.has(key)) {
    const parts = postQuantum[name]
    made.set(key, parts ? makePostQuantum(lib, code, parts) : mls.getCiphersuiteImpl(name).then((impl) => uncompressed(lib, impl, name)))
  }
  return made.get(key)
}
