/*
 * memory.h
 *		Memory that is there: where there is none, the program ends and its supervisor starts it again.
 */
#ifndef EVQ_COMMON_MEMORY_H
#define EVQ_COMMON_MEMORY_H

#include <stddef.h>

/* Tells that there is none, and ends the program; it may be replaced. */
extern void (*memory_ran_out)(void);

extern void *memory_new(size_t size);
extern void *memory_array(size_t count, size_t size);
extern void *memory_grow(void *block, size_t size);
extern char *memory_text(const char *text, size_t length);
extern char *memory_string(const char *string);

#endif /* EVQ_COMMON_MEMORY_H */
