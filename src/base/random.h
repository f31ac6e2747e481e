/*
 * random.h
 *		Random numbers that nobody can guess or draw again.
 */
#ifndef EVQ_RANDOM_H
#define EVQ_RANDOM_H

extern uint64 evq_random(void);

#endif /* EVQ_RANDOM_H */
