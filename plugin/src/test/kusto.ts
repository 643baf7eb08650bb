// Stands for Microsoft's KQL language service, which needs a browser's workers.
export const setSchemaFromShowSchema = jest.fn().mockResolvedValue(undefined);
export const getKustoWorker = jest.fn().mockResolvedValue(async () => ({ setSchemaFromShowSchema }));
