/*
 * loop.h
 *		The one loop: descriptors, timers and signals. All of the program runs in it, and nothing in it blocks.
 */
#ifndef EVQ_GATEWAY_LOOP_H
#define EVQ_GATEWAY_LOOP_H

#include <stdbool.h>
#include <stdint.h>

/* A descriptor and what to wait for: EPOLLIN, EPOLLOUT. Embedded in what the descriptor belongs to. */
typedef struct Watch
{
	int fd;
	uint32_t events;
	void (*ready)(struct Watch *watch, uint32_t events);
} Watch;

typedef struct Timer
{
	void (*due)(struct Timer *timer);
	int64_t at; /* as loop_now() */
	bool is_set;
	struct Timer *next;
} Timer;

/* The struct that a member is embedded in. */
#define LOOP_OWNER(type, member, pointer) ((type *) (void *) ((char *) (pointer) -offsetof(type, member)))

extern void loop_init(void);
extern int64_t loop_now(void);
extern void loop_watch(Watch *watch, int fd, uint32_t events);
extern void loop_unwatch(Watch *watch);
extern void loop_set_timer(Timer *timer, int64_t milliseconds);
extern void loop_clear_timer(Timer *timer);
extern void loop_on_signal(int signal_number, void (*handle)(void));
extern void loop_run(int (*turn)(void));
extern void loop_end(void);

#endif /* EVQ_GATEWAY_LOOP_H */
