//go:build !nowhatsapp

package wire

import (
	"strings"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"

	"mimigate/core/content"
)

// media is a file as its message describes it.
type media struct {
	File
	contentType, name, caption string
	mentioned                  []string
	content.Media
}

// source is what all messages with a file have.
type source interface {
	GetDirectPath() string
	GetMediaKey() []byte
	GetFileSHA256() []byte
	GetFileEncSHA256() []byte
	GetFileLength() uint64
	GetMimetype() string
}

func described(s source, kind whatsmeow.MediaType) media {
	return media{contentType: s.GetMimetype(), File: File{Kind: string(kind), Path: s.GetDirectPath(), Key: s.GetMediaKey(),
		Hash: s.GetFileSHA256(), Cipher: s.GetFileEncSHA256(), Size: s.GetFileLength()}}
}

func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }

// fileOf returns the file that a message is; false where it is none.
func fileOf(m *waE2E.Message) (media, bool) {
	var f media
	switch {
	case m.ImageMessage != nil:
		f = described(m.ImageMessage, whatsmeow.MediaImage)
		f.caption, f.Width, f.Height = m.ImageMessage.GetCaption(), m.ImageMessage.GetWidth(), m.ImageMessage.GetHeight()
		f.ViewOnce = m.ImageMessage.GetViewOnce()
	case m.VideoMessage != nil:
		f = video(m.VideoMessage)
		if m.VideoMessage.GetGifPlayback() {
			f.Role = content.MediaLoop
		}
	case m.PtvMessage != nil:
		f = video(m.PtvMessage)
		f.Role = content.MediaRound
	case m.AudioMessage != nil:
		f = described(m.AudioMessage, whatsmeow.MediaAudio)
		f.Duration, f.ViewOnce = seconds(m.AudioMessage.GetSeconds()), m.AudioMessage.GetViewOnce()
		if m.AudioMessage.GetPTT() {
			f.Role = content.MediaVoice
		}
	case m.DocumentMessage != nil:
		f = described(m.DocumentMessage, whatsmeow.MediaDocument)
		f.name, f.caption, f.Role = m.DocumentMessage.GetFileName(), m.DocumentMessage.GetCaption(), content.MediaFile
	case m.StickerMessage != nil:
		f = described(m.StickerMessage, whatsmeow.MediaImage)
		f.Role, f.Width, f.Height = content.MediaSticker, m.StickerMessage.GetWidth(), m.StickerMessage.GetHeight()
	default:
		return media{}, false
	}
	f.mentioned = mentionsOf(m)
	return f, true
}

func video(v *waE2E.VideoMessage) media {
	f := described(v, whatsmeow.MediaVideo)
	f.caption, f.Width, f.Height = v.GetCaption(), v.GetWidth(), v.GetHeight()
	f.Duration, f.ViewOnce = seconds(v.GetSeconds()), v.GetViewOnce()
	return f
}

// defaultTypes are the content types of files whose messages do not say.
var defaultTypes = map[string]string{
	string(whatsmeow.MediaImage): "image/jpeg", string(whatsmeow.MediaVideo): "video/mp4", string(whatsmeow.MediaAudio): "audio/ogg",
}

// filePart is a file with its caption. What was to be seen once is announced and not copied: it has no handle.
func (r Reader) filePart(f media, viewOnce bool) content.Part {
	f.ViewOnce = f.ViewOnce || viewOnce
	file := content.External{ContentType: Clean(f.contentType), URL: f.Blob().URL(), Size: f.Size, Filename: Clean(f.name)}
	if f.ViewOnce {
		file.URL, file.Size = File{}.Blob().URL(), 0
	}
	if !strings.Contains(file.ContentType, "/") || len(file.ContentType) > 255 {
		if file.ContentType = defaultTypes[f.Kind]; file.ContentType == "" {
			file.ContentType = "application/octet-stream"
		}
	}
	part := content.FilePart(file, f.Media)
	if f.caption == "" || f.ViewOnce {
		return part
	}
	return content.Captioned(part, ReadText(f.caption, f.mentioned, r.Name))
}
