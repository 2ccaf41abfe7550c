/*
 * message.h - HTTP/1.1 messages as a test client and a test server read them.
 *
 * Written apart from lib/http.h on purpose: tests that read with the parser
 * they test would share its mistakes.  Nothing here bounds memory: the peers
 * of a test program are the programs under test.
 */
#ifndef MESSAGE_H
#define MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

enum message_kind { MESSAGE_REQUEST, MESSAGE_ANSWER, MESSAGE_ANSWER_TO_HEAD };

enum message_result { MESSAGE_BAD = -1, MESSAGE_MORE, MESSAGE_DONE };

struct message {
	size_t head;		/* bytes of the head; 0 until it is there */
	size_t len;		/* bytes of the whole message, once done */
	int status;		/* of an answer, also of a 1xx one */
	bool keep_alive;
	bool expects_continue;
	/* private */
	enum message_kind kind;
	enum { BODY_NONE, BODY_LENGTH, BODY_CHUNKED, BODY_TO_END } framing;
	size_t scanned;		/* no end of the head before this */
	uint64_t length;
	bool trailers;		/* the last chunk has been read */
	struct buf chunks;	/* a chunked body, decoded so far */
};

/* Before each message; zero a struct before its first. */
void message_start(struct message *m, enum message_kind kind);
void message_free(struct message *m);

/*
 * in holds every byte since the end of the last message, and at_end says
 * that no more will come.  Call again with more until it is not MORE.
 */
enum message_result message_read(struct message *m, struct span in,
    bool at_end);

/* Parts of a message that is done; in as it was given to message_read. */
struct span message_body(const struct message *m, struct span in);

/* A header's value, or a span of NULL.  name is in lower case. */
struct span message_header(const struct message *m, struct span in,
    const char *name);

/*
 * The start line, then each header, out of a complete head; false at its
 * end or where it is malformed.
 */
bool message_next_line(struct span *head, struct span *line);
bool message_next_header(struct span *head, struct span *name,
    struct span *value);

/* Whether s is this word, which is in lower case, in any case. */
bool message_is_word(struct span s, const char *word);

/* What is before the first c; it and c are dropped from s.  All if no c. */
struct span message_cut(struct span *s, char c);

#endif
