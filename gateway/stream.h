/*
 * stream.h
 *		The live stream of what happens to events, and those who read it.
 *
 * Messages stand in a ring in the order in which the database notified them, which is that of the commits; the place in
 * it is what a reader goes on from. Nothing is kept for a reader: one that is a whole ring late has lost its place.
 */
#ifndef EVQ_GATEWAY_STREAM_H
#define EVQ_GATEWAY_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "request.h"

typedef struct StreamMessage
{
	size_t length;
	char text[]; /* JSON, in one line */
} StreamMessage;

typedef struct StreamReader StreamReader;

typedef struct StreamReaderKind
{
	void (*more)(StreamReader *reader);   /* there is a message, or time for a sign of life */
	void (*late)(StreamReader *reader);   /* it has lost its place: drop it */
	void (*end)(StreamReader *reader);    /* the program is about to stop */
	void (*revoke)(StreamReader *reader); /* it may read no more */
} StreamReaderKind;

struct StreamReader
{
	const StreamReaderKind *kind;
	char *token;     /* NULL = none was needed */
	char role[64];   /* "" = that of the gateway's own connection */
	uint64_t place;  /* number of the message to be read next */
	bool has_missed; /* what it wanted to go on from is gone */
	bool sign_is_due;
	bool is_asked_for; /* in this round of watching */
	StreamReader *next;
	StreamReader *previous;
};

#define STREAM_ID_SIZE 48

extern void stream_start(void);
extern void stream_review(void);
extern void stream_end_all(void);
extern void stream_drop_all(void);
extern void stream_admit(Request *request, void (*admitted)(Request *request));
extern void stream_join(StreamReader *reader, const StreamReaderKind *kind, const Request *request);
extern void stream_leave(StreamReader *reader);
extern const StreamMessage *stream_read(StreamReader *reader);
extern void stream_limit_buffer(int fd);
extern void stream_id(const StreamReader *reader, char id[STREAM_ID_SIZE]);

#endif /* EVQ_GATEWAY_STREAM_H */
