/**
 * The storage classes of S3 in the order in which a lifecycle may move objects: only ever downwards. `minimumDays`: who
 * deletes or moves an object sooner pays for the rest of them. `frozen`: it has to be asked back before it can be read.
 * (S3 User Guide, "Understanding and managing Amazon S3 storage classes", "Transitioning objects using S3 Lifecycle".)
 */
const CLASSES = {
  STANDARD: { minimumDays: 0, frozen: false },
  STANDARD_IA: { minimumDays: 30, frozen: false },
  INTELLIGENT_TIERING: { minimumDays: 0, frozen: false },
  ONEZONE_IA: { minimumDays: 30, frozen: false },
  GLACIER_IR: { minimumDays: 90, frozen: false },
  GLACIER: { minimumDays: 90, frozen: true },
  DEEP_ARCHIVE: { minimumDays: 180, frozen: true },
} as const;

export type StorageClass = keyof typeof CLASSES;

export const STORAGE_CLASSES = Object.keys(CLASSES) as [StorageClass, ...StorageClass[]];

/** Its place in the order; -1 for a class that is not known. */
export const depthOf = (storageClass: string): number => STORAGE_CLASSES.indexOf(storageClass as StorageClass);

export const minimumDaysOf = (storageClass: StorageClass): number => CLASSES[storageClass].minimumDays;

/** Whether an object of this class can be read only after it was asked back. */
export const isFrozenClass = (storageClass: string): boolean =>
  Object.hasOwn(CLASSES, storageClass) && CLASSES[storageClass as StorageClass].frozen;

/** S3 moves nothing to these before it is so old, nor out of them sooner. */
export const INFREQUENT_DAYS = 30;

export const isInfrequentClass = (storageClass: string): boolean =>
  storageClass === 'STANDARD_IA' || storageClass === 'ONEZONE_IA';
