/*
 * files.h
 *		Files that are part of the program: the web UI and the description of the API.
 */
#ifndef EVQ_GATEWAY_FILES_H
#define EVQ_GATEWAY_FILES_H

#include <stddef.h>

typedef struct File
{
	const char *path;
	const char *data;
	const char *end;
} File;

/* Made from the files by gateway/embed, which knows the members; the last one has no path. */
extern const File files_embedded[];

extern const File *files_find(const char *path);
extern const char *files_type(const File *file);
extern void files_tag(const File *file, char tag[19]);

#endif /* EVQ_GATEWAY_FILES_H */
