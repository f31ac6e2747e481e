/*
 * release.h
 *		By which names the installed extension has the functions of the routes.
 */
#ifndef EVQ_GATEWAY_RELEASE_H
#define EVQ_GATEWAY_RELEASE_H

#include <libpq-fe.h>
#include <stdbool.h>

/* Of a row x of pg_extension: is it of a release with the old names? Such releases are out, so there will be no others. */
#define RELEASE_IS_OLD_SQL "x.extversion IN ('0.1', '0.2')"
#define RELEASE_COLUMN "is_old"
#define RELEASE_SQL                                                                      \
	"SELECT " RELEASE_IS_OLD_SQL " AS " RELEASE_COLUMN " FROM pg_catalog.pg_extension x" \
	" WHERE x.extname = 'evq'"

extern bool release_is_old(void);
extern void release_learn(const PGresult *result);

extern char *release_statement(const char *function, const char *arguments, bool of_old_release);

#endif /* EVQ_GATEWAY_RELEASE_H */
