package vouch

import (
	"mimigate/core/content"
	"mimigate/core/hub"
)

// Evidence reads what a reported message says of itself, bare or framed, for the hub, which knows no content.
func Evidence(message []byte) (hub.Claimed, error) {
	m, err := content.Unmarshal(message)
	if err != nil {
		f, framing := content.UnmarshalFramed(message, content.TypeMessage)
		if framing != nil {
			return hub.Claimed{}, err
		}
		if m, err = content.Unmarshal(f.Content); err != nil {
			return hub.Claimed{}, err
		}
	}
	return hub.Claimed{Salt: m.Salt[:], Sender: m.SenderURI, Room: m.RoomURI, MediaType: content.TypeMessage}, nil
}
