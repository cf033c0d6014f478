// Module hooks that mend ts-mls 2.0.0-rc.10 in memory where it departs from RFC 9420 and could not speak to any other implementation.
// Nothing on disk changes. Each mend must match exactly as often as it says, else loading fails: another version needs another look.

const decodeLength = 'import { varLenDataEncoder as _vde, varLenDataDecoder as _vdd, varLenTypeEncoder as _vte, varLenTypeDecoder as _vtd } from "./codec/variableLength.js";\n'

const draft = `import * as _draft from "${new URL("./draft.mjs", import.meta.url)}";\n`

const mends = [
  // RFC 9420 §12.4 (and §17.4): a commit with one Update, Remove or GroupContextExtensions needs a path; ts-mls asks for more than one.
  { file: "clientState.js", times: 1,
    find: `            Object.values(grouped[defaultProposalTypes.update]).length > 1 ||
            Object.values(grouped[defaultProposalTypes.remove]).length > 1;`,
    put: `            grouped[defaultProposalTypes.update].length > 0 ||
            grouped[defaultProposalTypes.remove].length > 0 ||
            grouped[defaultProposalTypes.group_context_extensions].length > 0;` },

  // RFC 9420 §12.4.2: path secrets are encrypted to the tree with the proposals applied, and never to leaves just added. ts-mls takes
  // the keys from the tree before the proposals (so a removed member's key, where its leaf was filled again) and includes new leaves.
  { file: "updatePath.js", times: 1,
    find: "groupContext, signaturePrivateKey, cs) {\n    const originalLeafNode",
    put: "groupContext, signaturePrivateKey, cs, newNodes = []) {\n    const originalLeafNode" },
  { file: "updatePath.js", times: 1,
    find: "await applyInitialTreeUpdate(fdp, pathSecret,",
    put: "await applyInitialTreeUpdate(fdp.map((f) => ({ ...f, resolution: f.resolution.filter((n) => !newNodes.includes(n)) })), pathSecret," },
  { file: "updatePath.js", times: 1,
    find: "getHpkePublicKey(originalTree[nodeIndex])", put: "getHpkePublicKey(updatedTree[nodeIndex])" },

  // The same section: the provisional GroupContext holds the new extensions.
  { file: "createCommit.js", times: 1,
    find: "toLeafIndex(state.privatePath.leafIndex), state.groupContext, state.signaturePrivateKey, cipherSuite)\n",
    put: `toLeafIndex(state.privatePath.leafIndex),
            res.additionalResult.kind === "memberCommit" && res.additionalResult.extensions.length > 0
                ? { ...state.groupContext, extensions: res.additionalResult.extensions } : state.groupContext,
            state.signaturePrivateKey, cipherSuite,
            res.additionalResult.kind === "memberCommit" ? res.additionalResult.addedLeafNodes.map((l) => 2 * l[0]) : [])\n` },

  // RFC 9420 §7.4: commit_secret follows the last path secret of the filtered direct path, which ends below the root where one half of
  // the tree is blank; ts-mls then derives once too often.
  { file: "pathSecrets.js", times: 1,
    find: "        const nextSecret = await deriveSecret(pathSecrets[currentIndex]",
    put: "        if (tree[nextIndex] === undefined) break;\n        const nextSecret = await deriveSecret(pathSecrets[currentIndex]" },
  { file: "processMessages.js", times: 1,
    find: "const rootIndex = root(leafWidth(tree.length));\n    const rootSecret",
    put: "const rootIndex = Object.keys(pathSecrets).map(Number).reduce((a, b) => ((a ^ (a + 1)) > (b ^ (b + 1)) ? a : b));\n    const rootSecret" },

  // RFC 9420 §12.4.3.2: external_pub holds a struct { HPKEPublicKey external_pub }, so the key keeps its own length; ts-mls drops it.
  { file: "createCommit.js", times: 1, find: "import { defaultClientConfig }", put: decodeLength + "import { defaultClientConfig }" },
  { file: "createCommit.js", times: 2, find: "extensionData: externalPub }", put: "extensionData: encode(_vde, externalPub) }" },
  { file: "createCommit.js", times: 1, find: "exportSecret(externalPub.extensionData, cs)", put: "exportSecret(_vdd(externalPub.extensionData, 0)[0], cs)" },

  // RFC 9420 §12.1.8.1: external_senders is ExternalSender<V>; ts-mls reads one bare ExternalSender per extension.
  { file: "extension.js", times: 1, find: "import { UsageError }", put: decodeLength + "import { UsageError }" },
  { file: "extension.js", times: 1, find: "decode(externalSenderDecoder, extensionData)", put: "decode(_vtd(externalSenderDecoder), extensionData)" },
  { file: "extension.js", times: 3, find: "encode(externalSenderEncoder, ", put: "encode(_vte(externalSenderEncoder), " },
  { file: "clientState.js", times: 1,
    find: "const externalSenders = extensions.filter((e) => e.extensionType === defaultExtensionTypes.external_senders);",
    put: "const externalSenders = extensions.filter((e) => e.extensionType === defaultExtensionTypes.external_senders).flatMap((e) => e.extensionData.map((extensionData) => ({ extensionData })));" },
  { file: "publicMessage.js", times: 1,
    find: "extensions.filter((ex) => ex.extensionType === defaultExtensionTypes.external_senders);",
    put: "extensions.filter((ex) => ex.extensionType === defaultExtensionTypes.external_senders).flatMap((ex) => ex.extensionData.map((extensionData) => ({ extensionData })));" },
  { file: "externalProposal.js", times: 1,
    find: `groupInfo.groupContext.extensions.findIndex((ex) => {
        if (!isDefaultExtension(ex) || ex.extensionType !== defaultExtensionTypes.external_senders)
            return false;
        return constantTimeEqual(ex.extensionData.signaturePublicKey, signaturePublicKey);`,
    put: `groupInfo.groupContext.extensions.filter((ex) => ex.extensionType === defaultExtensionTypes.external_senders).flatMap((ex) => ex.extensionData).findIndex((sender) => {
        return constantTimeEqual(sender.signaturePublicKey, signaturePublicKey);` },

  // RFC 9420 §12.4.3.1: an unmerged leaf must be listed by the nodes between it and the node that lists it; ts-mls wants all lists of
  // the whole direct path equal, so it refuses most trees in which two leaves were added in different places.
  { file: "clientState.js", times: 1,
    find: "if (!arraysEqual(dpNode.parent.unmergedLeaves, n.parent.unmergedLeaves))",
    put: "if (dp.indexOf(parentIdx) < dp.indexOf(toNodeIndex(i)) && !dpNode.parent.unmergedLeaves.includes(unmergedLeaf))" },

  // mls-go repeats the GroupContext's extensions in the GroupInfo, where ts-mls keeps them as bytes but encodes them as decoded.
  { file: "extension.js", times: 1, find: "Encoder], (e) => {\n    if (isDefaultExtension(e)) {", put: "Encoder], (e) => {\n    if (isDefaultExtension(e) && !(e.extensionData instanceof Uint8Array)) {" },

  // draft-ietf-mls-extensions-10: AppDataUpdate, AppEphemeral and SelfRemove on the wire, and applied (draft.mjs).
  { file: "proposal.js", times: 1, find: "import { leafNodeUpdateDecoder,", put: draft + "import { leafNodeUpdateDecoder," },
  { file: "proposal.js", times: 1, find: "        return proposalCustomEncoder(p);", put: "        return _draft.isDraft(p.proposalType) ? _draft.encoder(p) : proposalCustomEncoder(p);" },
  { file: "proposal.js", times: 1, find: "    return mapDecoder(varLenDataDecoder, (proposalData) =>", put: "    return _draft.isDraft(proposalType) ? _draft.decoder(proposalType) : mapDecoder(varLenDataDecoder, (proposalData) =>" },
  { file: "clientState.js", times: 1, find: "import { defaultClientConfig }", put: draft + "import { defaultClientConfig }" },
  { file: "clientState.js", times: 1,
    find: "    }, emptyProposals);\n    const zeroes",
    put: `    }, { ...emptyProposals });
    const _leaving = _draft.selfRemoves(allProposals, (i) => proposals[i].proposalOrRefType === proposalOrRefTypes.proposal);
    if (committerLeafIndex !== undefined) grouped[defaultProposalTypes.remove] = [..._leaving, ...grouped[defaultProposalTypes.remove]];
    const zeroes` },
  { file: "clientState.js", times: 1,
    find: "const newExtensions = flattenExtensions(grouped[defaultProposalTypes.group_context_extensions]);",
    put: `const _replaced = flattenExtensions(grouped[defaultProposalTypes.group_context_extensions]);
        const newExtensions = _draft.applyAppData(_replaced.length > 0 ? _replaced : state.groupContext.extensions, allProposals);` },
  { file: "clientState.js", times: 1,
    find: "throwIfDefined(validateExternalInit(grouped));",
    put: "throwIfDefined(validateExternalInit(grouped));\n        grouped[defaultProposalTypes.remove] = [..._leaving, ...grouped[defaultProposalTypes.remove]];" },
  { file: "clientState.js", times: 1,
    find: "externalInitSecret,\n                newMemberLeafIndex",
    put: "externalInitSecret,\n                extensions: _draft.applyAppData(state.groupContext.extensions, allProposals),\n                newMemberLeafIndex" },
  { file: "processMessages.js", times: 1,
    find: `result.additionalResult.kind === "memberCommit" && result.additionalResult.extensions.length > 0`,
    put: "result.additionalResult.extensions?.length > 0" },

  // RFC 9420 §12.4.3.2: an external commit may hold PSKs, and by the draft AppDataUpdates and pending SelfRemoves; ts-mls lets its author
  // add nothing. extraProposals are committed by value; selfRemoves are the authenticated contents of SelfRemoves, by reference.
  { file: "createCommit.js", times: 1,
    find: "import { treeHashRoot }",
    put: draft + 'import { accumulatePskSecret as _psk } from "./pskIndex.js";\nimport { makeProposalRef as _ref } from "./authenticatedContent.js";\nimport { treeHashRoot }' },
  { file: "createCommit.js", times: 1,
    find: "removeLeafNodeMutable(mutableTree, formerLeafIndex);",
    put: `removeLeafNodeMutable(mutableTree, formerLeafIndex);
    const _extra = params.extraProposals ?? [], _leaving = params.selfRemoves ?? [];
    for (const p of _leaving) removeLeafNodeMutable(mutableTree, toLeafIndex(p.content.sender.leafIndex));
    const _context = { ...groupInfo.groupContext, extensions: _draft.applyAppData(groupInfo.groupContext.extensions, _extra.map((proposal) => ({ proposal }))) };` },
  { file: "createCommit.js", times: 1, find: "nodeToLeafIndex(newLeafNodeIndex), groupInfo.groupContext,", put: "nodeToLeafIndex(newLeafNodeIndex), _context," },
  { file: "createCommit.js", times: 1,
    find: "        : [externalInitProposal];\n    const pskSecret = new Uint8Array(cs.kdf.size);",
    put: `        : [externalInitProposal];
    proposals.push(..._extra);
    const [pskSecret] = await _psk(_extra.filter((p) => p.psk).map((p) => p.psk.preSharedKeyId), makePskIndex(undefined, context.externalPsks ?? {}), cs, new Uint8Array(cs.kdf.size));
    const _refs = await Promise.all(_leaving.map(async (p) => ({ proposalOrRefType: proposalOrRefTypes.reference, reference: await _ref(p, cs.hash) })));` },
  { file: "createCommit.js", times: 1,
    find: "proposals: proposals.map((p) => ({ proposalOrRefType: proposalOrRefTypes.proposal, proposal: p })),",
    put: "proposals: [..._refs, ...proposals.map((p) => ({ proposalOrRefType: proposalOrRefTypes.proposal, proposal: p }))]," },
  { file: "createCommit.js", times: 1, find: "await nextEpochContext(groupInfo.groupContext,", put: "await nextEpochContext(_context," },

  // No defect, but needed to compare: the sender of an application message.
  { file: "processMessages.js", times: 2, find: `kind: "applicationMessage",\n`, put: `kind: "applicationMessage", sender: result.content.content.sender,\n` },
]

export async function load(url, context, nextLoad) {
  const loaded = await nextLoad(url, context)
  const at = url.lastIndexOf("/ts-mls/dist/src/")
  if (at < 0) return loaded
  const file = url.slice(at + "/ts-mls/dist/src/".length)
  const mine = mends.filter((m) => m.file === file)
  if (mine.length === 0) return loaded
  let source = loaded.source.toString()
  for (const m of mine) {
    const parts = source.split(m.find)
    if (parts.length !== m.times + 1) throw new Error(`mends.mjs: ${file}: found ${parts.length - 1} times, want ${m.times}: ${m.find}`)
    source = parts.join(m.put)
  }
  return { ...loaded, source }
}
