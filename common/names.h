/*
 * names.h
 *		The addresses of a host by its name, without waiting for them.
 */
#ifndef EVQ_COMMON_NAMES_H
#define EVQ_COMMON_NAMES_H

#include <stdbool.h>

#define NAMES_MOST_ADDRESSES 16
#define NAMES_ADDRESS_SIZE 64

typedef char Address[NAMES_ADDRESS_SIZE];

typedef struct Lookup Lookup;

extern bool names_is_address(const char *host);
extern Lookup *names_ask(const char *name);
extern int names_fd(const Lookup *lookup);
extern int names_answer(const Lookup *lookup, Address addresses[NAMES_MOST_ADDRESSES], const char **error);
extern void names_forget(Lookup *lookup);

#endif /* EVQ_COMMON_NAMES_H */
