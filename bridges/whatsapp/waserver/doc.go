//go:build !nowhatsapp

// Package waserver is a WhatsApp server on loopback, for tests only: whatsmeow connects to it unpatched, by its own hooks
// (Server.Hook), and two clients that meet there encrypt for each other with Signal as they would anywhere. The server
// routes what it cannot read, keeps what is not acknowledged, and does what a test's script tells it to (Rule).
//
//	server := waserver.Start(t)
//	alice := server.Phone(t, "4915100000001", "Alice") // a person: their phone is a whatsmeow client, device 0
//	bob := server.Phone(t, "4915100000002", "Bob")
//	family := alice.NewGroup(t, "Family", bob)
//
//	server.Hook(client)                                // the client under test, not yet linked
//	qr, _ := client.GetQRChannel(ctx)
//	client.Connect()
//	alice.Scan(t, (<-qr).Code)                         // or: alice.EnterCode(t, code)
//
//	id := bob.Text(t, family, "hello")
//	bob.WaitReceipt(t, id, types.ReceiptTypeRead)
//	waclient.WaitText(t, bob.Client, "hello from Matrix")
//
// # What is where
//
// server.go: Start, Hook, people and their devices · session.go: a connection, login, refusals, what waits for an offline
// device · stanza.go: which stanza goes where · pair.go: linking by QR and by code · keys.go: Signal keys, device lists,
// numbers and LIDs, app state · message.go: messages, receipts, typing, presence · groups.go · media.go: pictures · rule.go:
// scripted faults · phone.go: people's phones.
//
// noise: the transport · link: what a phone reckons to link a device · group: the state of groups · collections: app state ·
// blob: media hosts · stanza: reading stanzas · waclient: the whatsmeow clients of tests.
//
// # What is like the real one, as far as it is known
//
// A stanza for a device (message, receipt, notification) is kept until that device acknowledges it, across connections,
// and is sent again at the next login, in order, between offline_preview and offline. A device is sent nothing before it
// says that it is active. Typing and presence go only to devices that said they are available. A second login of a device
// replaces the first. A group's members are addressed by LID, unless the group is made old-fashioned (Server.OldFashioned).
// What a client asks that the server does not know is refused with 501 and remembered: Server.Unknown.
//
// # What is not there
//
// Channels, communities, calls, payments, business catalogues, passkey pairing. Nothing here was seen on the live service:
// the exchanges are those that whatsmeow v0.0.0-20260821 sends and accepts.
package waserver
