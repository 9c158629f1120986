import { z } from 'zod';
import { configSchema } from './config-schema.js';
import { grantsSchema } from './exception-schema.js';
import { policySchema } from './policy-schema.js';
import { recordSchema } from './record-schema.js';
import { registrySchema } from './registry-schema.js';
import { revocationSchema } from './revocation-schema.js';

/** File name in `config/` -> JSON Schema (draft 7, which editors read) of what a person writes, and of what we write. */
export function jsonSchemas(): Readonly<Record<string, unknown>> {
  return {
    'countersign.schema.json': toJsonSchema(configSchema),
    'policy.schema.json': toJsonSchema(policySchema),
    'grants.schema.json': toJsonSchema(grantsSchema),
    'registry.schema.json': toJsonSchema(registrySchema),
    'revoked.schema.json': toJsonSchema(revocationSchema),
    'record.schema.json': toOpenJsonSchema(recordSchema),
  };
}

export const formatJsonSchema = (schema: unknown): string => `${JSON.stringify(schema, null, 2)}\n`;

const toJsonSchema = (schema: z.ZodType): unknown =>
  z.toJSONSchema(schema, { io: 'input', target: 'draft-7' });

/** Of what others read: fields that a later release adds must not make its records unreadable to them. */
const toOpenJsonSchema = (schema: z.ZodType): unknown =>
  z.toJSONSchema(schema, {
    target: 'draft-7',
    override: ({ jsonSchema }) => {
      if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
    },
  });
