/*
 * mcp_stdio.h
 *		The Model Context Protocol for the program that started us.
 */
#ifndef EVQ_GATEWAY_MCP_STDIO_H
#define EVQ_GATEWAY_MCP_STDIO_H

extern int mcp_stdio_serve(void);

#endif /* EVQ_GATEWAY_MCP_STDIO_H */
