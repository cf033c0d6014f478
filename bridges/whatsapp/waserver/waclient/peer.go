//go:build !nowhatsapp

package waclient

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"time"

	"go.mau.fi/whatsmeow"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/proto/waWeb"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"go.mau.fi/whatsmeow/util/keys"
	"google.golang.org/protobuf/proto"
)

// What a phone does for the devices linked to it, which whatsmeow, made for linked devices, only receives.

// SendMessage is whatsmeow's, one at a time with SendPeer: whatsmeow does not guard a session against both.
func (c *Client) SendMessage(ctx context.Context, to types.JID, message *waE2E.Message, extra ...whatsmeow.SendRequestExtra) (whatsmeow.SendResponse, error) {
	c.sending.Lock()
	defer c.sending.Unlock()
	return c.Client.SendMessage(ctx, to, message, extra...)
}

// SendPeer sends one of the person's own devices, by LID, a message that is for no chat.
func (c *Client) SendPeer(ctx context.Context, to types.JID, message *waE2E.ProtocolMessage) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	//lint:ignore SA1019 whatsmeow is for linked devices: only inside it is what a phone does for them
	inside := c.DangerousInternals()
	plain, err := proto.Marshal(&waE2E.Message{ProtocolMessage: message})
	if err != nil {
		return fmt.Errorf("waclient: own device: %w", err)
	}
	known, err := c.Store.ContainsSession(ctx, to.SignalAddress())
	if err != nil {
		return fmt.Errorf("waclient: own device: %w", err)
	}
	var ask []types.JID
	if !known {
		ask = []types.JID{to}
	}
	enc, first, err := inside.EncryptMessageForDevice(ctx, plain, to, inside.FetchPreKeysNoError(ctx, ask)[to], nil, nil)
	if err != nil {
		return fmt.Errorf("waclient: own device: %w", err)
	}
	content := []waBinary.Node{{Tag: "meta", Attrs: waBinary.Attrs{"appdata": "default"}}, *enc}
	if first {
		content = append(content, inside.MakeDeviceIdentityNode())
	}
	err = inside.SendNode(ctx, waBinary.Node{Tag: "message", Attrs: waBinary.Attrs{
		"to": to, "id": c.GenerateMessageID(), "type": "peer_msg", "category": "peer",
	}, Content: content})
	if err != nil {
		return fmt.Errorf("waclient: own device: %w", err)
	}
	return nil
}

// Keys are a device's Signal keys as its server keeps them.
type Keys struct {
	Registration []byte // 4 octets
	Signed       waBinary.Node
	OneTime      []waBinary.Node
}

// Keys returns a device's keys, with n one-time keys, which count as given to its server.
func (c *Client) Keys(ctx context.Context, n uint32) (Keys, error) {
	list, err := c.Store.PreKeys.GetOrGenPreKeys(ctx, n)
	if err != nil {
		return Keys{}, fmt.Errorf("waclient: keys: %w", err)
	}
	if err := c.Store.PreKeys.MarkPreKeysAsUploaded(ctx, list[len(list)-1].KeyID); err != nil {
		return Keys{}, fmt.Errorf("waclient: keys: %w", err)
	}
	signed := c.Store.SignedPreKey
	k := Keys{
		Registration: binary.BigEndian.AppendUint32(nil, c.Store.RegistrationID),
		Signed:       keyNode("skey", signed, waBinary.Node{Tag: "signature", Content: signed.Signature[:]}),
	}
	for _, o := range list {
		k.OneTime = append(k.OneTime, keyNode("key", o))
	}
	return k, nil
}

func keyNode(tag string, k *keys.PreKey, more ...waBinary.Node) waBinary.Node {
	return waBinary.Node{Tag: tag, Content: append([]waBinary.Node{
		{Tag: "id", Content: binary.BigEndian.AppendUint32(nil, k.KeyID)[1:]}, {Tag: "value", Content: k.Pub[:]},
	}, more...)}
}

// fingerprint says which devices know a key of app state; nobody reads it.
func fingerprint() *waE2E.AppStateSyncKeyFingerprint {
	return &waE2E.AppStateSyncKeyFingerprint{RawID: proto.Uint32(1), CurrentIndex: proto.Uint32(0), DeviceIndexes: []uint32{0}}
}

// MakeKey makes a key of app state.
func (c *Client) MakeKey(ctx context.Context, id []byte) error {
	fp, err := proto.Marshal(fingerprint())
	if err != nil {
		return fmt.Errorf("waclient: app state key: %w", err)
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails (crypto/rand)
	key := store.AppStateSyncKey{Data: secret, Fingerprint: fp, Timestamp: time.Now().UnixMilli()}
	if err := c.Store.AppStateKeys.PutAppStateSyncKey(ctx, id, key); err != nil {
		return fmt.Errorf("waclient: app state key: %w", err)
	}
	return nil
}

// ShareKey gives a new device, by LID, a key of app state, upon which it fetches that.
func (c *Client) ShareKey(ctx context.Context, to types.JID, id []byte) error {
	key, err := c.Store.AppStateKeys.GetAppStateSyncKey(ctx, id)
	if err != nil || key == nil {
		return fmt.Errorf("waclient: no app state key %x: %w", id, err)
	}
	return c.SendPeer(ctx, to, &waE2E.ProtocolMessage{
		Type: waE2E.ProtocolMessage_APP_STATE_SYNC_KEY_SHARE.Enum(),
		AppStateSyncKeyShare: &waE2E.AppStateSyncKeyShare{Keys: []*waE2E.AppStateSyncKey{{
			KeyID:   &waE2E.AppStateSyncKeyId{KeyID: id},
			KeyData: &waE2E.AppStateSyncKeyData{KeyData: key.Data, Timestamp: &key.Timestamp, Fingerprint: fingerprint()},
		}}},
	})
}

// Resend answers the request of a device that could not decrypt a message with the message as this client has it.
func (c *Client) Resend(ctx context.Context, request types.MessageInfo, found *events.Message, key *waCommon.MessageKey) error {
	info := &waWeb.WebMessageInfo{
		Key: key, Message: found.RawMessage, MessageTimestamp: proto.Uint64(uint64(found.Info.Timestamp.Unix())), PushName: &found.Info.PushName,
	}
	if found.Info.IsGroup {
		info.Participant = proto.String(found.Info.Sender.ToNonAD().String())
	}
	raw, err := proto.Marshal(info)
	if err != nil {
		return fmt.Errorf("waclient: resend: %w", err)
	}
	return c.SendPeer(ctx, request.Sender, &waE2E.ProtocolMessage{
		Type: waE2E.ProtocolMessage_PEER_DATA_OPERATION_REQUEST_RESPONSE_MESSAGE.Enum(),
		PeerDataOperationRequestResponseMessage: &waE2E.PeerDataOperationRequestResponseMessage{
			PeerDataOperationRequestType: waE2E.PeerDataOperationRequestType_PLACEHOLDER_MESSAGE_RESEND.Enum(),
			StanzaID:                     &request.ID,
			PeerDataOperationResult: []*waE2E.PeerDataOperationRequestResponseMessage_PeerDataOperationResult{{
				PlaceholderMessageResendResponse: &waE2E.PeerDataOperationRequestResponseMessage_PeerDataOperationResult_PlaceholderMessageResendResponse{
					WebMessageInfoBytes: raw,
				},
			}},
		},
	})
}

// SendHistory sends one of the person's own devices, by LID, a part of the history.
func (c *Client) SendHistory(ctx context.Context, to types.JID, history *waHistorySync.HistorySync) error {
	raw, err := proto.Marshal(history)
	if err != nil {
		return fmt.Errorf("waclient: history: %w", err)
	}
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	if _, err := z.Write(raw); err != nil {
		return fmt.Errorf("waclient: history: %w", err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("waclient: history: %w", err)
	}
	return c.SendPeer(ctx, to, &waE2E.ProtocolMessage{
		Type: waE2E.ProtocolMessage_HISTORY_SYNC_NOTIFICATION.Enum(),
		HistorySyncNotification: &waE2E.HistorySyncNotification{
			SyncType: waE2E.HistorySyncType(history.GetSyncType()).Enum(), InitialHistBootstrapInlinePayload: b.Bytes(),
		},
	})
}
