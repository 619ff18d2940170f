package wire

import (
	"strings"
	"testing"
)

// entryLetters are how the scripts below write entries: the client's message
// type; CopyDone is c, in lower case.
var entryLetters = map[byte]entry{
	'Q': entQuery, 'S': entSync, 'P': entParse, 'B': entBind, 'D': entDescribe, 'E': entExecute, 'C': entClose, 'c': entCopyEnd,
}

// The scripts: words begin with > for messages to the server and < for replies.
// Behind an entry, r, z and g are hideReplies, hideReady and hideCopyIn. Behind
// a reply, - says that it is hidden. A word "idle", "busy" or "lost" is a check.
var queueScripts = []struct{ name, script string }{
	{"nothing", "idle"},
	{"simple query", ">Q busy <T <D <C busy <Z idle"},
	{"two queries in flight", ">Q >Q <C <Z busy <C <Z idle"},
	{"query error", ">Q <E busy <Z idle"},
	{"async messages", "idle <N <A <S <K idle >Q <A <S <N <C <Z idle"},
	{"fatal error while idle", "<E idle"},
	{"pipeline", ">P >B >D >E >S <1 <2 <T <D <C busy <Z idle"},
	{"statement description", ">P >D >S <1 <t <n <Z idle"},
	{"empty and suspended", ">E >E >C >S <I <s <3 <Z idle"},
	{"no sync yet", ">P <1 idle >B >E <2 <C idle >S busy <Z idle"},
	{"error skips to the sync", ">P >B >E >S >P >S <1 <E busy <Z busy <1 <Z idle"},
	{"error before the sync is sent", ">P >B <1 <E busy >E >Q >C busy >S busy <Z idle"},
	{"error of the sync itself", ">B >E >S <2 <C <E <Z idle"},
	{"simple copy", ">Q <G >c busy <C <Z idle"},
	{"simple copy, all in flight", ">Q >c <G <C <Z idle"},
	{"simple copy fails, late done", ">Q <G <E <Z idle >c idle >Q <C <Z idle"},
	{"simple copy fails, done before ready", ">Q <G <E >c <Z idle"},
	{"two copies in one query", ">Q <G >c <C <G >c <C <Z idle"},
	{"two copies in one query, in flight", ">Q >c >c <G <C <G <C <Z idle"},
	{"sync within a simple copy", ">Q <G >S >c <C <Z idle"},
	{"early sync of a simple copy", ">Q >S >c >S <G <C <Z busy <Z idle"},
	{"sync within a simple copy that fails", ">Q <G >S <E lost"},
	{"extended copy", ">B >E <2 <G busy >c >S <C <Z idle"},
	{"extended copy, sync before the data", ">B >E >S <2 <G >c >S <C <Z idle"},
	{"extended copy, sync amid the data", ">B >E <2 <G >S >c >S <C <Z idle"},
	{"extended copy, all in flight", ">B >E >S >c >S <2 <G <C busy <Z idle"},
	{"extended copy fails, late done", ">B >E <2 <G <E busy >c busy >S <Z idle"},
	{"extended copy fails behind an ignored sync", ">B >E >S <2 <G <E lost"},
	{"extended copy refused", ">B >E >S >c >S <2 <E <Z <Z idle"},
	{"two extended copies", ">B >E >c >B >E >c >S <2 <G <C <2 <G <C <Z idle"},
	{"done out of place", ">c idle >P >c >S <1 <Z idle"},
	{"hidden sync", ">P >Sz <1 <Z- idle"},
	{"hidden query", ">Qrz <N- <C- <Z- idle"},
	{"commit in place of a sync", ">Sz >Qr <Z- <C- <Z idle"},
	{"hidden query shows its error", ">Qr <E <Z idle"},
	{"hidden parse and bind", ">Pr >Br >Dr >Eg <1- <2- <n- <G- >c >S <C <Z idle"},
	{"hidden copy-in of a query", ">Qg <G- >c <C <Z idle"},
	{"async messages are never hidden", ">Qrz <A <S <N- <C- <Z- idle"},
	{"ready out of nowhere", "<Z lost >Q <C <Z lost"},
	{"ready in place of a reply", ">P <Z lost"},
	{"lost hides nothing", "<Z lost >Qrz <C <Z lost"},
	{"unknown replies", ">Q <? <V <Z idle"},
}

func TestQueueScripts(t *testing.T) {
	t.Parallel()
	for _, c := range queueScripts {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var q replyQueue
			for i, word := range strings.Fields(c.script) {
				queueWord(t, &q, i, word)
			}
		})
	}
}

func queueWord(t *testing.T, q *replyQueue, i int, word string) {
	t.Helper()
	switch word[0] {
	case '>':
		e := entryLetters[word[1]]
		for _, flag := range word[2:] {
			e |= map[rune]entry{'r': hideReplies, 'z': hideReady, 'g': hideCopyIn}[flag]
		}
		q.push(e)
	case '<':
		if hide := q.reply(word[1]); hide != strings.HasSuffix(word, "-") {
			t.Fatalf("word %d, %s: hide is %v", i, word, hide)
		}
	default:
		state := "busy"
		if q.lost {
			state = "lost"
		} else if q.idle() {
			state = "idle"
		}
		if state != word {
			t.Fatalf("word %d: the queue is %s, not %s", i, state, word)
		}
	}
}

func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	var q replyQueue
	for range maxQueue {
		q.push(entParse)
	}
	if q.lost {
		t.Fatal("lost before the bound")
	}
	q.push(entParse)
	if !q.lost || q.ring != nil {
		t.Fatal("not lost, or the memory is kept")
	}
}

// TestQueueWraps moves the ring's start around while it grows.
func TestQueueWraps(t *testing.T) {
	t.Parallel()
	var q replyQueue
	kinds := []entry{entParse, entBind, entClose}
	replies := "123"
	pushed, popped := 0, 0
	for round := range 200 {
		for range round%7 + 3 {
			q.push(kinds[pushed%3])
			pushed++
		}
		for range round%7 + 2 {
			before := q.size
			q.reply(replies[popped%3])
			if q.size != before-1 {
				t.Fatalf("reply %d was not expected", popped)
			}
			popped++
		}
	}
	if q.size != pushed-popped {
		t.Fatalf("%d entries, not %d", q.size, pushed-popped)
	}
}
