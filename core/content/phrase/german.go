package phrase

// german has every phrase, and the names of the kinds of messages (content.Kind).
var german = map[Phrase]string{
	NotHere:   "%s: hier nicht verfügbar",
	TooLarge:  "%s: größer als die hier erlaubten %s",
	Elsewhere: "%s: %s",
	SeenOnce:  "%s: nur einmal anzusehen, und nur in der App, in die es gesendet wurde",

	Photo:     "Foto",
	Video:     "Video",
	Recording: "Aufnahme",
	VoiceNote: "Sprachnachricht",
	File:      "Datei",
	Sticker:   "Sticker",
	Place:     "Ort",
	Contact:   "Kontakt",
	Date:      "Termin",
	Poll:      "Umfrage",
	Call:      "Anruf",
	Notice:    "Hinweis",

	Reacted:      "reagierte mit %s auf „%s“",
	ReactedOld:   "reagierte mit %s auf eine frühere Nachricht",
	Unreacted:    "nahm eine Reaktion auf „%s“ zurück",
	UnreactedOld: "nahm eine Reaktion auf eine frühere Nachricht zurück",
	Edited:       "bearbeitet:",
	Deleted:      "löschte eine frühere Nachricht",
	Voted:        "stimmte für %s",
	Unvoted:      "nahm die Stimme zurück",
	InThread:     "im Thread „%s“:",
	InThreadOld:  "in einem Thread:",
	Answering:    "als Antwort an %s:",
	AnsweringOld: "als Antwort auf eine frühere Nachricht:",
	Vanishes:     "soll %s nach dem Lesen gelöscht werden",
	VanishesAt:   "soll am %s gelöscht werden",
	Question:     "Umfrage: %s",

	ShownAsLine:  "%s: wird dort als Textzeile gezeigt",
	ShownReduced: "%s: wird dort nur zum Teil gezeigt",
	NotShown:     "%s: wird dort nicht gezeigt",

	BecauseTooLarge: "größer als %s",
	BecauseTooMany:  "mehr als %s",
	BecauseTooLong:  "länger als %s",
	BecauseTooLate:  "dort ist es zu spät für eine Änderung",
	BecauseUnknown:  "worauf es sich bezieht, ist dort nicht vorhanden",
	BecauseOnce:     "es sollte nur einmal gesehen werden",

	"text": "Text", "formatted text": "formatierter Text", "mention": "Erwähnung", "reply": "Antwort", "edit": "Bearbeitung", "delete": "Löschung",
	"reaction": "Reaktion", "thread": "Thread", "image": "Bild", "audio": "Tonaufnahme", "voice": "Sprachnachricht",
	"album": "Album", "caption": "Bildunterschrift", "location": "Standort", "calendar": "Termin", "vote": "Stimme",
	"expiring": "ablaufende Nachricht", "view once": "einmal anzusehen", "link preview": "Linkvorschau", "status": "Lesebestätigung",
}
