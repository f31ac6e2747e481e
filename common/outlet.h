/*
 * outlet.h
 *		Standard error, which a thread of its own writes to: whoever reads it slowly, or not at all, holds up nobody.
 */
#ifndef EVQ_COMMON_OUTLET_H
#define EVQ_COMMON_OUTLET_H

#include <stdbool.h>
#include <stddef.h>

extern bool outlet_write(const char *line, size_t length);

#endif /* EVQ_COMMON_OUTLET_H */
