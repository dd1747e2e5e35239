"""Reading DICOM files that may be damaged or hostile: the only place where pydicom parses and decodes."""
