package convert

import (
	"context"

	"mimigate/core/adapter"
	"mimigate/core/content"
	"mimigate/core/content/markup"
	"mimigate/core/content/show"
	"mimigate/core/uri"
)

// mapParts returns a body with every part that holds something replaced by what f makes of it. The body given stays as it is.
func mapParts(p content.Part, f func(content.Part) content.Part) content.Part {
	multi, ok := p.Body.(content.Multi)
	if !ok {
		return f(p)
	}
	parts := make([]content.Part, len(multi.Parts))
	for i, child := range multi.Parts {
		parts[i] = mapParts(child, f)
	}
	multi.Parts = parts
	p.Body = multi
	return p
}

// rewriteLinks changes the targets of links in a part of formatted text.
func rewriteLinks(p content.Part, f func(target string) string) content.Part {
	single, ok := p.Body.(content.Single)
	if !ok || p.MediaType() != "text/markdown" {
		return p
	}
	single.Content = []byte(markup.RewriteLinks(string(single.Content), f))
	p.Body = single
	return p
}

// BodyIn turns what only the network understands into what everybody does: mentions of its people into their addresses, and
// handles of its files, which nobody else can fetch, into a line of text.
func (c *Converter) BodyIn(ctx context.Context, network string, body content.Part) (content.Part, error) {
	var failed error
	out := mapParts(body, func(p content.Part) content.Part {
		if file, ok := p.Body.(content.External); ok {
			if _, handle := adapter.ParseBlob(file.URL); handle {
				return c.fileLine(p, file)
			}
		}
		return rewriteLinks(p, func(target string) string {
			id, ok := adapter.ParsePerson(target)
			if !ok {
				return target
			}
			person, known, err := c.Identity.ByID(ctx, network, id)
			if err != nil {
				failed = err
			}
			if !known {
				return "" // nobody's address: the name stays as text
			}
			return person.User.String()
		})
	})
	return out, failed
}

// fileLine is the line that stands for a file.
func (c *Converter) fileLine(p content.Part, file content.External) content.Part {
	shown, _ := show.Degrade(content.Of(p), content.Limits{}, show.Scene{Language: c.Language})
	if shown == nil || shown.Body.IsNull() {
		return content.TextPart("📎 " + file.Filename)
	}
	return shown.Body
}

// bodyOut turns mentions of people of the network that it goes to into its own.
func (c *Converter) bodyOut(ctx context.Context, network string, body content.Part) (content.Part, error) {
	var failed error
	out := mapParts(body, func(p content.Part) content.Part {
		return rewriteLinks(p, func(target string) string {
			user, err := uri.ParseUser(target)
			if err != nil || user.Domain() != c.Provider.Domain() {
				return target
			}
			person, known, err := c.Identity.ByUser(ctx, user)
			if err != nil || !known {
				failed = err
				return target
			}
			ids, err := c.Store.PersonIDs(ctx, network, person.User)
			if err != nil || len(ids) == 0 {
				failed = err
				return target
			}
			return ids[0].URL()
		})
	})
	return out, failed
}
