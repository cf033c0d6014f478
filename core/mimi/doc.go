// Package mimi is the protocol between providers: the messages of draft-ietf-mimi-protocol-06 with their encoding, the endpoints
// as Go interfaces, and what both ends of them share.
//
// A [Hub] keeps the order of a room and decides what may happen in it; a [Follower] is told; [KeyMaterial] hands out key packages. A
// provider is hub of its own rooms and follower everywhere. The provider a call comes from is an explicit argument: over
// HTTPS it is what mutual TLS has proved, in one process it is the caller itself.
//
// Encodings are those of RFC 9420 §2.1 (package mls). Where the draft is silent or broken, the comments say how we read it, as
// "reading A…"; core/SPECS.md lists the readings. URIs stay strings here: requests are signed, hashed and passed on as they came.
package mimi
